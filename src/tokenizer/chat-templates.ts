/**
 * Where a folder keeps chat templates: newer releases of transformers write files of their own, older ones `chat_template` in
 * `tokenizer_config.json`. A tokenizer carries them as the latter, which all releases read.
 */

import type { TokenizerConfig } from "./tokenizer.js";

/** Paths in a folder, and the names of what is in them. */
export const chatTemplateFiles = {
  "chat_template.jinja": "default",
  "additional_chat_templates/tool_use.jinja": "tool_use",
} as const;

/** Texts of templates by their names; the one for all purposes is "default". */
export type NamedTemplates = ReadonlyMap<string, string>;

/** The templates of a `tokenizer_config.json`: one text, or a list of named ones. */
export function templatesOf({ chat_template: configured }: TokenizerConfig): NamedTemplates {
  const entries: readonly unknown[] = Array.isArray(configured) ? configured : [{ name: "default", template: configured }];
  const named = new Map<string, string>();
  for (const entry of entries) {
    const { name, template } = (entry ?? {}) as { name?: unknown; template?: unknown };
    if (typeof name === "string" && typeof template === "string") named.set(name, template);
  }
  return named;
}

/** A `tokenizer_config.json` that says what is in files too; as transformers has it, those come first. */
export function withTemplates(config: TokenizerConfig, inFiles: NamedTemplates): TokenizerConfig {
  if (inFiles.size === 0) return config;
  const named = new Map([...templatesOf(config), ...inFiles]);
  const [only, ...others] = named;
  if (only?.[0] === "default" && others.length === 0) return { ...config, chat_template: only[1] };
  return { ...config, chat_template: [...named].map(([name, template]) => ({ name, template })) };
}
