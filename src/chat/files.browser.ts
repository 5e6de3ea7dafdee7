/** A chat template's files, in a page. */

import { TsumikiError } from "../errors.js";
import { withSpecialTokensMap } from "../tokenizer/named-tokens.js";
import type { ChatTemplateFiles } from "./load.js";

/** @param source the address of a folder, or of its `tokenizer.json`, relative to the page */
export async function readChatTemplateFiles(source: string): Promise<ChatTemplateFiles> {
  const folder = source.endsWith(".json") ? source.replace(/[^/]*$/, "") : `${source.replace(/\/$/, "")}/`;
  const [template, toolUse, config, map] = await Promise.all(
    ["chat_template.jinja", "additional_chat_templates/tool_use.jinja", "tokenizer_config.json", "special_tokens_map.json"].map(
      (name) => fetchText(folder + name),
    ),
  );
  const object = (text: string | undefined, name: string) => (text === undefined ? undefined : parsed(text, folder + name));
  const own = object(config, "tokenizer_config.json") ?? {};
  const specialTokensMap = object(map, "special_tokens_map.json");
  return { template, toolUse, config: withSpecialTokensMap(own, { specialTokensMap }) };
}

/** The answer, or undefined where the server has no such file. */
async function fetchText(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(url);
    const isPage = response.headers.get("content-type")?.startsWith("text/html"); // how development servers answer for a missing file
    if (response.status === 404 || (response.ok && isPage)) return undefined;
    if (!response.ok) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    return await response.text();
  } catch (cause) {
    throw new TsumikiError("NETWORK", `${url} could not be loaded: ${(cause as Error).message}`, { cause });
  }
}

function parsed(text: string, url: string): Record<string, unknown> {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TsumikiError("CONFIG", `${url} is not JSON; it may be truncated: ${(cause as Error).message}`, { cause });
  }
}
