/** A tokenizer's files, in Node. */

import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";
import { chatTemplateFiles, type NamedTemplates, templatesOf } from "./chat-templates.js";
import { type FilesBeside, olderFiles } from "./named-tokens.js";
import type { TokenizerConfig } from "./tokenizer.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** What stands in `tokenizer.json`, in `tokenizer_config.json` where there is one, and in files of chat templates. */
export interface TokenizerFiles {
  readonly json: unknown;
  readonly config: TokenizerConfig | undefined;
  readonly templates: NamedTemplates;
  /** Files of older releases. */
  readonly beside: FilesBeside;
}

/** @param source a folder with a `tokenizer.json`, or the path of such a file */
export async function readTokenizerFiles(source: string): Promise<TokenizerFiles> {
  const path = source.endsWith(".json") ? source : join(source, "tokenizer.json");
  const json = await readJson(path);
  if (json === undefined)
    throw new TsumikiError("TOKENIZER", `There is no tokenizer at ${path}. Give a folder that holds a tokenizer.json.`);
  const templates = new Map<string, string>();
  for (const [file, name] of Object.entries(chatTemplateFiles)) {
    const template = await readText(join(dirname(path), file));
    if (template !== undefined) templates.set(name, template);
  }
  const beside = (name: string) => readObject(join(dirname(path), name));
  return {
    json,
    config: await beside("tokenizer_config.json"),
    templates,
    beside: { specialTokensMap: await beside("special_tokens_map.json"), addedTokens: await beside("added_tokens.json") },
  };
}

export async function writeTokenizerFiles(directory: string, json: TokenizerJson, config: TokenizerConfig): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFileAtomically(join(directory, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
  await writeFileAtomically(join(directory, "tokenizer.json"), `${JSON.stringify(json, null, 2)}\n`);
  // Files of another tokenizer's templates would come before those of the config.
  const templates = templatesOf(config);
  for (const [file, name] of Object.entries(chatTemplateFiles)) {
    const [path, template] = [join(directory, file), templates.get(name)];
    if (template !== undefined && (await readText(path)) !== undefined) await writeFileAtomically(path, template);
  }
  // So would its special tokens.
  for (const [file, content] of Object.entries(olderFiles(json, config))) {
    const path = join(directory, file);
    if ((await readText(path)) !== undefined) await writeFileAtomically(path, `${JSON.stringify(content, null, 2)}\n`);
  }
}

async function readObject(path: string): Promise<Record<string, unknown> | undefined> {
  const value = await readJson(path);
  if (value === undefined || (typeof value === "object" && value !== null && !Array.isArray(value)))
    return value as Record<string, unknown> | undefined;
  throw new TsumikiError("TOKENIZER", `${path} does not hold an object: ${JSON.stringify(value).slice(0, 40)}`);
}

/** The parsed file, or undefined where there is none. A byte order mark, which Windows' editors write, is no part of it. */
async function readJson(path: string): Promise<unknown> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new TsumikiError("TOKENIZER", `${path} is not JSON; it may be truncated: ${(cause as Error).message}`, { cause });
  }
}

/** The text, or undefined where there is no such file. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new TsumikiError("TOKENIZER", `${path} cannot be read: ${message}`, { cause });
  }
}
