/**
 * Several files of a folder replaced together: a kill or a power cut in between leaves the old files, or a note by which the next one who
 * comes finishes the replacement. What is new lies whole in a folder beside it before the first name changes.
 */

import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import * as z from "zod";
import { syncFolder, writeFileAtomically } from "./atomic.node.js";
import { readJsonObject } from "./json.node.js";

const noteName = ".replacing.json";
const noteSchema = z.object({ from: z.string(), names: z.array(z.string()), obsolete: z.array(z.string()) });

/**
 * Moves all files of `from`, a folder beside `target`, into it, and removes those of `obsolete`.
 *
 * @param obsolete names in `target` that belong to what is replaced and have no new file
 */
export async function replaceFiles(from: string, target: string, obsolete: readonly string[]): Promise<void> {
  const names = await readdir(from);
  const note = { from: basename(from), names, obsolete: obsolete.filter((name) => !names.includes(name)) };
  await writeFileAtomically(join(target, noteName), `${JSON.stringify(note)}\n`);
  await finishReplacement(target);
}

/** Finishes a replacement that was interrupted; nothing is done where there is none. */
export async function finishReplacement(target: string): Promise<void> {
  const note = noteSchema.safeParse(await readJsonObject(join(target, noteName)));
  if (!note.success) return;
  const { from, names, obsolete } = note.data;
  const folder = join(dirname(target), basename(from));
  for (const name of names) await rename(join(folder, name), join(target, basename(name))).catch(ignoreAbsent); // moved already
  for (const name of obsolete) await rm(join(target, basename(name)), { force: true });
  await syncFolder(target);
  await rm(join(target, noteName), { force: true });
  await rm(folder, { recursive: true, force: true });
}

function ignoreAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

const oneHour = 3_600_000;

/** Removes the folders of replacements of `target` that were killed before they began, so long ago that nobody works on them. */
export async function removeAbandoned(target: string): Promise<void> {
  const pattern = new RegExp(`^\\.${basename(target).replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}-[0-9a-f]{8}$`);
  for (const name of await readdir(dirname(target))) {
    if (!pattern.test(name)) continue;
    const path = join(dirname(target), name);
    const status = await stat(path).catch(() => undefined);
    if (status?.isDirectory() && Date.now() - status.mtimeMs > oneHour) await rm(path, { recursive: true, force: true });
  }
}
