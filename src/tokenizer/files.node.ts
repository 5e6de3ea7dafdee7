/** A tokenizer's files, in Node. */

import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.js";
import type { TokenizerConfig } from "./tokenizer.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** What stands in `tokenizer.json`, and in `tokenizer_config.json` where there is one. */
export interface TokenizerFiles {
  readonly json: unknown;
  readonly config: TokenizerConfig | undefined;
}

/** @param source a folder with a `tokenizer.json`, or the path of such a file */
export async function readTokenizerFiles(source: string): Promise<TokenizerFiles> {
  const path = source.endsWith(".json") ? source : join(source, "tokenizer.json");
  const json = await readJson(path);
  if (json === undefined)
    throw new TsumikiError("TOKENIZER", `There is no tokenizer at ${path}. Give a folder that holds a tokenizer.json.`);
  return { json, config: (await readJson(join(dirname(path), "tokenizer_config.json"))) as TokenizerConfig | undefined };
}

export async function writeTokenizerFiles(directory: string, json: TokenizerJson, config: TokenizerConfig): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFileAtomically(join(directory, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
  await writeFileAtomically(join(directory, "tokenizer.json"), `${JSON.stringify(json, null, 2)}\n`);
}

/** The parsed file, or undefined where there is none. */
async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new TsumikiError("TOKENIZER", `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TsumikiError("TOKENIZER", `${path} is not JSON; it may be truncated: ${(cause as Error).message}`, { cause });
  }
}
