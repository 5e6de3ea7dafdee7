/** `tsumiki template`: what a model's chat template makes of a conversation, and what of it the assistant says. */

import { styleText } from "node:util";
import type { Command } from "commander";
import type { EncodedConversation } from "../../chat/index.js";
import { ArgumentError, TsumikiError } from "../../errors.js";
import { controlsShown } from "../../runs/control-pictures.js";
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
    .argument(
      "<conversation>",
      "a JSON file (- for standard input): { messages, tools }, a list of messages, or conversations as other data has them",
    )
    .option("--generation-prompt", "end with the beginning of the assistant's next turn")
    .option("--variable <name=value...>", "what the template knows besides, for example enable_thinking=false")
    .option("--json", 'print {"text", "ids", "assistantMask"}')
    .action(template);
}

async function template(folder: string, file: string, { generationPrompt = false, json = false, variable = [] }: TemplateFlags) {
  const { encodeConversation, loadChatTemplate, parseConversation } = await import("../../chat/index.js");
  const { loadTokenizer } = await import("../../tokenizer/index.js");
  const place = file === "-" ? "standard input" : file;
  const conversation = parseConversation(await asMessages(await readJson(file, place), place), place);
  const tokenizer = await loadTokenizer(folder);
  const encoded = encodeConversation(tokenizer, await loadChatTemplate(folder), conversation, {
    addGenerationPrompt: generationPrompt,
    variables: Object.fromEntries(variable.map(parseVariable)),
    place,
  });
  const { text, ids, assistantMask } = encoded;
  if (json) console.log(JSON.stringify({ text, ids: [...ids], assistantMask: [...assistantMask] }));
  else console.log(showsColours() ? coloured(encoded, tokenizer) : text);
}

async function readJson(file: string, place: string): Promise<unknown> {
  const { textFile } = await import("../../data/corpus.js");
  const text = file === "-" ? await standardInput() : await textFile(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TsumikiError("DATA", `${place} is not JSON: ${(cause as Error).message}`, { cause });
  }
}

async function standardInput(): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  const { decodeUtf8 } = await import("../../data/text.js");
  return decodeUtf8(Buffer.concat(chunks), "standard input");
}

/** MiniMind's, ShareGPT's and Alpaca's conversations become messages; what else is given stays. */
async function asMessages(value: unknown, place: string): Promise<unknown> {
  const { recognizeFormat } = await import("../../data/formats/formats.js");
  const { FieldProblem } = await import("../../data/formats/field-problem.js");
  const format = recognizeFormat(value);
  if (format?.kind !== "conversation" || format.name === "messages") return value;
  try {
    return format.parse(value as Readonly<Record<string, unknown>>);
  } catch (problem) {
    if (!(problem instanceof FieldProblem)) throw problem;
    throw new TsumikiError("DATA", `${place}, ${problem.field ?? "the conversation"}: ${problem.message}`, { cause: problem });
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
    const piece = controlsShown(shown.push(id));
    if (piece === "") continue; // the rest of a character is still to come
    result += pending.said ? styleText(pending.token % 2 === 0 ? "green" : "cyan", piece) : piece;
    pending = undefined;
  }
  return result + controlsShown(shown.end());
}
