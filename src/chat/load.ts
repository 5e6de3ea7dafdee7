import { readChatTemplateFiles } from "#platform/chat/files";
import { TsumikiError } from "../errors.js";
import { templatesOf } from "../tokenizer/chat-templates.js";
import { type ChatTemplate, chatTemplate } from "./template.js";

/** What a model's folder says about its conversations. */
export interface ChatTemplateFiles {
  /** The content of `chat_template.jinja`. */
  readonly template: string | undefined;
  /** The content of `additional_chat_templates/tool_use.jinja`. */
  readonly toolUse: string | undefined;
  /** The content of `tokenizer_config.json`, with that of `special_tokens_map.json` where transformers reads it. */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * A model's own template: `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`, with its special tokens as variables.
 *
 * @param source a folder with a tokenizer; in a page, its address
 * @throws TsumikiError CONFIG where there is none or it cannot be read
 */
export async function loadChatTemplate(source: string): Promise<ChatTemplate> {
  const files = await readChatTemplateFiles(source);
  const named = new Map(templatesOf(files.config));
  // As transformers has it, files come before the config.
  if (files.template !== undefined) named.set("default", files.template);
  if (files.toolUse !== undefined) named.set("tool_use", files.toolUse);
  const variables = specialTokensOf(files.config);
  const main = named.get("default");
  if (main === undefined) {
    const others = [...named.keys()].join(", ");
    throw new TsumikiError(
      "CONFIG",
      `There is no chat template in ${source}${others && ` besides ${others}`}: no chat_template.jinja, and no chat_template in ` +
        "tokenizer_config.json. Put a chat_template.jinja there, for example with one of the texts in chatTemplates.",
    );
  }
  const toolUse = named.get("tool_use");
  return { ...chatTemplate(main, variables), ...(toolUse !== undefined && { toolUse: chatTemplate(toolUse, variables) }) };
}

/** `bos_token`, `eos_token` and others, which are written as texts or as added tokens. */
function specialTokensOf(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [name, value] of Object.entries(config)) {
    if (!name.endsWith("_token")) continue;
    const content = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
    if (typeof content === "string") tokens[name] = content;
  }
  return tokens;
}
