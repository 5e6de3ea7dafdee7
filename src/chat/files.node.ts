/** A chat template's files, in Node. */

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TsumikiError } from "../errors.js";
import { withSpecialTokensMap } from "../tokenizer/named-tokens.js";
import type { ChatTemplateFiles } from "./load.js";

/** @param source a folder, or the path of its `tokenizer.json` */
export async function readChatTemplateFiles(source: string): Promise<ChatTemplateFiles> {
  const folder = source.endsWith(".json") ? dirname(source) : source;
  const readObject = async (name: string) => {
    const text = await readText(join(folder, name));
    return text === undefined ? undefined : parsed(text, join(folder, name));
  };
  return {
    template: await readText(join(folder, "chat_template.jinja")),
    toolUse: await readText(join(folder, "additional_chat_templates", "tool_use.jinja")),
    config: withSpecialTokensMap((await readObject("tokenizer_config.json")) ?? {}, {
      specialTokensMap: await readObject("special_tokens_map.json"),
    }),
  };
}

/** The text, or undefined where there is no such file. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new TsumikiError("CONFIG", `${path} cannot be read: ${message}`, { cause });
  }
}

function parsed(text: string, path: string): Record<string, unknown> {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new TsumikiError("CONFIG", `${path} is not JSON; it may be truncated: ${(cause as Error).message}`, { cause });
  }
}
