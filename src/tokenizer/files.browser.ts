/** A tokenizer's files, in a page. */

import { ArgumentError, TsumikiError } from "../errors.js";
import { chatTemplateFiles } from "./chat-templates.js";
import type { TokenizerFiles } from "./files.node.js";
import type { TokenizerConfig } from "./tokenizer.js";
import type { TokenizerJson } from "./tokenizer-json.js";

/** @param source the address of a folder with a `tokenizer.json`, or of such a file, relative to the page */
export async function readTokenizerFiles(source: string): Promise<TokenizerFiles> {
  const url = source.endsWith(".json") ? source : `${source.replace(/\/$/, "")}/tokenizer.json`;
  const json = await fetched(url, (answer) => answer.json());
  if (json === undefined) throw new TsumikiError("TOKENIZER", `There is no tokenizer at ${url}.`);
  const beside = (name: string) => url.replace(/[^/]*$/, name);
  const found = await Promise.all(
    Object.entries(chatTemplateFiles).map(async ([file, name]) => {
      const template = await fetched(beside(file), (answer) => answer.text());
      return template === undefined ? [] : [[name, template] as const];
    }),
  );
  const [config, specialTokensMap, addedTokens] = await Promise.all(
    ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].map((name) =>
      fetched(beside(name), async (answer) => (await answer.json()) as Record<string, unknown>),
    ),
  );
  return { json, config, templates: new Map(found.flat()), beside: { specialTokensMap, addedTokens } };
}

export async function writeTokenizerFiles(_directory: string, _json: TokenizerJson, _config: TokenizerConfig): Promise<void> {
  throw new ArgumentError(
    "A page has no folders to save a tokenizer in: store JSON.stringify(tokenizer), which is its tokenizer.json.",
  );
}

/** The answer as it is read, or undefined where the server has no such file. */
async function fetched<T>(url: string, read: (answer: Response) => Promise<T>): Promise<T | undefined> {
  try {
    const response = await fetch(url);
    const isPage = response.headers.get("content-type")?.startsWith("text/html"); // how development servers answer for a missing file
    if (response.status === 404 || (response.ok && isPage)) return undefined;
    if (!response.ok) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    return await read(response);
  } catch (cause) {
    throw new TsumikiError("NETWORK", `${url} could not be loaded: ${(cause as Error).message}`, { cause });
  }
}
