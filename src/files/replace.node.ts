/**
 * Several files of a folder replaced together: a kill or a power cut in between leaves the old files, or a note by which the next one who
 * comes finishes the replacement. What is new lies whole in a folder beside it before the first name changes.
 */

import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import * as z from "zod";
import { TsumikiError } from "../errors.js";
import { syncFolder, writeFileAtomically } from "./atomic.node.js";
import { readJsonObject } from "./json.node.js";

const noteName = ".replacing.json";
const noteSchema = z.object({
  from: z.string(),
  /** New files, with their inodes: a file that has moved keeps its own, an old one of the same name has another. */
  files: z.array(z.object({ name: z.string(), inode: z.string() })),
  obsolete: z.array(z.string()),
});

/**
 * Notes that all files of `from`, a folder beside `target`, are to take their places in it. From here on `from` belongs to the
 * replacement, and only {@link finishReplacement} removes it. When the note cannot be written there is none.
 *
 * @param obsolete names in `target` that belong to what is replaced and have no new file
 */
export async function announceReplacement(from: string, target: string, obsolete: readonly string[]): Promise<void> {
  const names = await readdir(from);
  const files = await Promise.all(names.map(async (name) => ({ name, inode: (await inodeOf(join(from, name))) ?? "" })));
  const note = { from: basename(from), files, obsolete: obsolete.filter((name) => !names.includes(name)) };
  const path = join(target, noteName);
  try {
    await writeFileAtomically(path, `${JSON.stringify(note)}\n`);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/**
 * Moves the new files and removes the obsolete ones of a replacement that is announced, as far as it has not been done yet. Where it
 * fails (a full disk, a name that is taken by a folder) the note and the new files stay, and the next call goes on.
 *
 * @throws TsumikiError CHECKPOINT when new files are lost, or the note cannot be followed; nothing is changed then
 */
export async function finishReplacement(target: string): Promise<void> {
  const path = join(target, noteName);
  const content = await readJsonObject(path);
  if (content === undefined) return;
  const note = noteSchema.safeParse(content);
  if (!note.success)
    throw new TsumikiError(
      "CHECKPOINT",
      `${path} is not a note of an interrupted save: ${z.prettifyError(note.error)}. ${advice}`,
    );
  const { files, obsolete } = note.data;
  const folder = join(dirname(target), basename(note.data.from));
  const lost: string[] = [];
  for (const { name, inode } of files) {
    const isWaiting = (await inodeOf(join(folder, name))) !== undefined;
    if (!isWaiting && (await inodeOf(join(target, basename(name)))) !== inode) lost.push(name);
  }
  if (lost.length > 0)
    throw new TsumikiError(
      "CHECKPOINT",
      `A save into ${target} was interrupted, and new files of it are neither there nor in ${folder}: ${lost.join(", ")}. ${advice}`,
    );
  for (const { name } of files) await rename(join(folder, name), join(target, basename(name))).catch(ignoreAbsent); // moved already
  for (const name of obsolete) await rm(join(target, basename(name)), { force: true });
  await syncFolder(target);
  await rm(path, { force: true });
  await rm(folder, { recursive: true, force: true });
}

const advice = `The files that are there may belong to two models: save into another directory, or remove ${noteName} to use them as they are.`;

async function inodeOf(path: string): Promise<string | undefined> {
  try {
    return String((await stat(path, { bigint: true })).ino);
  } catch (error) {
    ignoreAbsent(error as NodeJS.ErrnoException);
    return undefined;
  }
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
