/** `tsumiki template`: what a model's chat template makes of a conversation, and what of it the assistant says. */

import { styleText } from "node:util";
import type { Command } from "commander";
import type { EncodedConversation } from "../../chat/index.js";
import { ArgumentError, TsumikiError } from "../../errors.js";
import type { Tokenizer } from "../../tokenizer/index.js";

interface TemplateFlags {
  readonly generationPrompt?: boolean;
  readonly json?: boolean;
  readonly variable?: readonly string[];
}

export function register(program: Command): void {
  program
    .command("template")
    .description("show a conversation as a model's chat template writes it, with the assistant's tokens in colour")
    .argument(
      "<folder>",
      "a Hugging Face directory: tokenizer.json, and chat_template.jinja or a tokenizer_config.json that has one",
    )
    .argument("<conversation>", "a JSON file: { messages, tools } or a list of messages")
    .option("--generation-prompt", "end with the beginning of the assistant's next turn")
    .option("--variable <name=value...>", "what the template knows besides, for example enable_thinking=false")
    .option("--json", 'print {"text", "ids", "assistantMask"}')
    .action(template);
}

async function template(folder: string, file: string, { generationPrompt = false, json = false, variable = [] }: TemplateFlags) {
  const { encodeConversation, loadChatTemplate, parseConversation } = await import("../../chat/index.js");
  const { loadTokenizer } = await import("../../tokenizer/index.js");
  const conversation = parseConversation(await readJson(file), file);
  const tokenizer = await loadTokenizer(folder);
  const encoded = encodeConversation(tokenizer, await loadChatTemplate(folder), conversation, {
    addGenerationPrompt: generationPrompt,
    variables: Object.fromEntries(variable.map(parseVariable)),
    place: file,
  });
  const { text, ids, assistantMask } = encoded;
  if (json) console.log(JSON.stringify({ text, ids: [...ids], assistantMask: [...assistantMask] }));
  else console.log(showsColours() ? coloured(encoded, tokenizer) : text);
}

async function readJson(file: string): Promise<unknown> {
  const { textFile } = await import("../../data/corpus.js");
  const text = await textFile(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TsumikiError("DATA", `${file} is not JSON: ${(cause as Error).message}`, { cause });
  }
}

/** The value is JSON where it can be read as such, else a text. */
function parseVariable(text: string): [name: string, value: unknown] {
  const [, name, value] = /^(\w+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new ArgumentError(`--variable takes name=value, but ${JSON.stringify(text)} was given.`);
  try {
    return [name, JSON.parse(value)];
  } catch {
    return [name, value];
  }
}

const showsColours = (): boolean => Boolean(process.env.FORCE_COLOR || (process.stdout.isTTY && process.stdout.hasColors()));

/** The assistant's tokens in two alternating colours, so that they can be told apart. */
function coloured({ ids, assistantMask }: EncodedConversation, tokenizer: Tokenizer): string {
  const shown = tokenizer.decodeStream();
  let result = "";
  let pending: { readonly said: boolean; readonly token: number } | undefined;
  for (const [i, id] of ids.entries()) {
    pending ??= { said: assistantMask[i] === 1, token: i };
    const piece = shown.push(id);
    if (piece === "") continue; // the rest of a character is still to come
    result += pending.said ? styleText(pending.token % 2 === 0 ? "green" : "cyan", piece) : piece;
    pending = undefined;
  }
  return result + shown.end();
}
