/** The formats of rows that are known here: how each is told by its fields, and what its rows mean. */

import { type Message, turnProblem } from "../../chat/conversation.js";
import type { Example, ExampleKind } from "../example.js";
import { FieldProblem, has, isRow, listOf, type Row, show, soundText, wholeText } from "./field-problem.js";
import { messagesOf, toolsOf } from "./messages.js";

export interface RowFormat {
  readonly name: FormatName;
  readonly kind: ExampleKind;
  /** The fields by which it is known, for a person. */
  readonly fields: string;
  /** Whether a row is of this format, by its fields alone. */
  readonly fits: (row: Row) => boolean;
  /** @throws FieldProblem where a field is not what the format says */
  readonly parse: (row: Row) => Example;
}

export type FormatName =
  | "rated"
  | "messages"
  | "conversations"
  | "preference"
  | "alpaca"
  | "prompt-completion"
  | "token-labels"
  | "classification"
  | "text";

/** OpenAI's chat format: `{"messages": [{"role", "content"}], "tools": [...]}`. */
const openAiMessages: RowFormat = {
  name: "messages",
  kind: "conversation",
  fields: "messages, perhaps tools",
  fits: (row) => has(row, "messages"),
  parse(row) {
    const tools = toolsOf(row.tools, "tools");
    return { kind: "conversation", messages: messagesOf(row.messages, "messages"), ...(tools ? { tools } : {}) };
  },
};

/** `{"conversations": [...]}` with role and content (MiniMind) or from and value (ShareGPT), perhaps a system prompt beside it. */
const conversations: RowFormat = {
  name: "conversations",
  kind: "conversation",
  fields: "conversations, perhaps system and tools",
  fits: (row) => has(row, "conversations"),
  parse(row) {
    const turns = messagesOf(row.conversations, "conversations");
    // MiniMind keeps the tools with the system turn.
    const [first] = row.conversations as readonly Row[];
    const tools = toolsOf(row.tools, "tools") ?? toolsOf(first?.tools, "conversations[0].tools");
    return { kind: "conversation", messages: [...systemTurn(row), ...turns], ...(tools ? { tools } : {}) };
  },
};

/** `{"prompt", "chosen", "rejected"}`: texts or lists of turns; without a prompt it is what chosen and rejected begin with alike. */
const preference: RowFormat = {
  name: "preference",
  kind: "preference",
  fields: "chosen, rejected, mostly prompt",
  fits: (row) => has(row, "chosen") && has(row, "rejected"),
  parse(row) {
    const chosen = turnsOrText(row.chosen, "chosen", "assistant");
    const rejected = turnsOrText(row.rejected, "rejected", "assistant");
    if (JSON.stringify(chosen) === JSON.stringify(rejected))
      throw new FieldProblem("rejected", "is the same as chosen: there is nothing to prefer");
    const shared = sharedTurns(chosen, rejected);
    const given = has(row, "prompt") ? turnsOrText(row.prompt, "prompt", "user") : undefined;
    // With a prompt of its own, chosen and rejected may hold it once more (as UltraFeedback's do).
    const repeated = given === undefined ? shared : Math.min(shared, startsWith(chosen, given) ? given.length : 0);
    const prompt = given ?? chosen.slice(0, shared);
    if (prompt.length === 0) throw new FieldProblem("prompt", "is missing, and chosen and rejected do not begin alike");
    const wrong = turnProblem(prompt, { needsAssistant: false });
    if (wrong) throw new FieldProblem(`${given ? "prompt" : "chosen"}${wrong.at}`, wrong.problem);
    const answers = (turns: readonly Message[], field: string) => {
      if (turns.length === repeated) throw new FieldProblem(field, "says nothing beyond the prompt");
      return turns.slice(repeated);
    };
    return { kind: "preference", prompt, chosen: answers(chosen, "chosen"), rejected: answers(rejected, "rejected") };
  },
};

/** Stanford Alpaca's `{"instruction", "input", "output"}`, with LLaMA-Factory's `system` and `history`. */
const alpaca: RowFormat = {
  name: "alpaca",
  kind: "conversation",
  fields: "instruction, output, perhaps input, system and history",
  fits: (row) => has(row, "instruction") && (has(row, "output") || has(row, "response")),
  parse(row) {
    const instruction = wholeText(row.instruction, "instruction");
    const input = has(row, "input") ? soundText(row.input, "input").trim() : "";
    const history = has(row, "history") && (row.history as readonly unknown[]).length !== 0 ? listOf(row.history, "history") : [];
    const earlier = history.flatMap((pair, i): Message[] => {
      if (!Array.isArray(pair) || pair.length !== 2)
        throw new FieldProblem(`history[${i}]`, `is ${show(pair)}, expected a question and an answer`);
      return [
        { role: "user", content: wholeText(pair[0], `history[${i}][0]`) },
        { role: "assistant", content: wholeText(pair[1], `history[${i}][1]`) },
      ];
    });
    const answer = has(row, "output") ? wholeText(row.output, "output") : wholeText(row.response, "response");
    return {
      kind: "conversation",
      messages: [
        ...systemTurn(row),
        ...earlier,
        { role: "user", content: input === "" ? instruction : `${instruction}\n\n${input}` },
        { role: "assistant", content: answer },
      ],
    };
  },
};

/** The fields of a question and its answer, in the spellings that data has. */
const answerFields = [
  ["prompt", "completion"],
  ["prompt", "response"],
  ["question", "answer"],
  ["query", "response"],
] as const;
const answerFieldsOf = (row: Row) => answerFields.find((fields) => fields.every((field) => has(row, field)));

/** The turns of a prompt and its completion, texts or lists; of the prompt's nothing is learned. */
function answered(row: Row): readonly Message[] {
  const [asked, answer] = answerFieldsOf(row) as (typeof answerFields)[number];
  const prompt = turnsOrText(row[asked], asked, "user");
  const wrong = turnProblem(prompt, { needsAssistant: false });
  if (wrong) throw new FieldProblem(`${asked}${wrong.at}`, wrong.problem);
  const given = prompt.map((turn) => (turn.role === "assistant" ? { ...turn, weight: 0 } : turn));
  return [...systemTurn(row), ...given, ...turnsOrText(row[answer], answer, "assistant")];
}

/** `{"prompt", "completion"}`, as TRL and OpenAI have it, texts or lists of turns; and other names for the same. */
const promptCompletion: RowFormat = {
  name: "prompt-completion",
  kind: "conversation",
  fields: "prompt and completion (or prompt and response, question and answer, query and response)",
  fits: (row) => answerFieldsOf(row) !== undefined,
  parse(row) {
    const tools = toolsOf(row.tools, "tools");
    return { kind: "conversation", messages: answered(row), ...(tools ? { tools } : {}) };
  },
};

/** KTO's `{"prompt", "completion", "label"}`, or messages and a label that is true or false. */
const rated: RowFormat = {
  name: "rated",
  kind: "rated",
  fields: "prompt and completion, or messages, and label: true or false",
  fits: (row) => ratingOf(row.label) !== undefined && (has(row, "messages") || answerFieldsOf(row) !== undefined),
  parse(row) {
    const tools = toolsOf(row.tools, "tools");
    const messages = has(row, "messages") ? messagesOf(row.messages, "messages") : answered(row);
    const label = ratingOf(row.label);
    if (label === undefined) throw new FieldProblem("label", `is ${show(row.label)}, expected true or false`);
    return { kind: "rated", messages, label, ...(tools ? { tools } : {}) };
  },
};

/** A list of words and a list of labels as long: `tokens` with `labels`, `tags`, `ner_tags` or `pos_tags` (CoNLL). */
const tokenLabels: RowFormat = {
  name: "token-labels",
  kind: "token-labels",
  fields: "tokens (or words) and labels, tags, ner_tags or pos_tags",
  fits: (row) => firstOf(row, tokenFields) !== undefined && firstOf(row, tagFields) !== undefined,
  parse(row) {
    const [tokenField, labelField] = [firstOf(row, tokenFields) as string, firstOf(row, tagFields) as string];
    const tokens = listOf(row[tokenField], tokenField).map((token, i) => wholeText(token, `${tokenField}[${i}]`));
    const labels = listOf(row[labelField], labelField).map((label, i) => labelOf(label, `${labelField}[${i}]`));
    if (tokens.length !== labels.length)
      throw new FieldProblem(labelField, `has ${labels.length} labels for the ${tokens.length} of ${tokenField}`);
    return { kind: "token-labels", tokens, labels };
  },
};

/** A text or a pair of texts, and a label. */
const classification: RowFormat = {
  name: "classification",
  kind: "classification",
  fields: "text (or sentence, sentence1 and sentence2, premise and hypothesis, question and sentence) and label",
  fits: (row) => firstOf(row, labelFields) !== undefined && textFieldsOf(row) !== undefined,
  parse(row) {
    const [first, second] = textFieldsOf(row) as readonly [string, string?];
    const labelField = firstOf(row, labelFields) as string;
    return {
      kind: "classification",
      text: wholeText(row[first], first),
      ...(second === undefined ? {} : { secondText: wholeText(row[second], second) }),
      label: labelOf(row[labelField], labelField),
    };
  },
};

/** `{"text": ...}`: plain text for pretraining. */
const text: RowFormat = {
  name: "text",
  kind: "text",
  fields: "text (or content)",
  fits: (row) => firstOf(row, plainFields) !== undefined,
  parse(row) {
    const field = firstOf(row, plainFields) as string;
    return { kind: "text", text: wholeText(row[field], field) };
  },
};

/** Those that ask for more come first: a row is of the first format that it fits. */
export const formats: readonly RowFormat[] = [
  rated,
  openAiMessages,
  conversations,
  preference,
  alpaca,
  promptCompletion,
  tokenLabels,
  classification,
  text,
];

export const formatNamed = (name: FormatName): RowFormat => formats.find((format) => format.name === name) as RowFormat;

/** The format whose fields a row has; `undefined` where none fits. */
export const recognizeFormat = (row: unknown): RowFormat | undefined =>
  isRow(row) ? formats.find((format) => format.fits(row)) : undefined;

/** Rows with one text field of a name of their own. */
export function textFieldFormat(field: string): RowFormat {
  return {
    name: "text",
    kind: "text",
    fields: field,
    fits: (row) => has(row, field),
    parse: (row) => ({ kind: "text", text: wholeText(row[field], field) }),
  };
}

const tokenFields = ["tokens", "words"];
const tagFields = ["labels", "tags", "ner_tags", "pos_tags", "chunk_tags"];
const labelFields = ["label", "class", "category", "target"];
const plainFields = ["text", "content"];
const textPairs = [
  ["text", "text_pair"],
  ["sentence1", "sentence2"],
  ["premise", "hypothesis"],
  ["question1", "question2"],
  ["question", "sentence"],
  ["text"],
  ["sentence"],
  ["content"],
  ["review"],
] as const satisfies readonly (readonly [string, string?])[];

const firstOf = (row: Row, fields: readonly string[]): string | undefined => fields.find((field) => row[field] !== undefined);

const textFieldsOf = (row: Row): readonly [string, string?] | undefined =>
  textPairs.find((fields) => fields.every((field) => row[field] !== undefined));

function labelOf(value: unknown, field: string): string | number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "string" && value !== "") return soundText(value, field);
  throw new FieldProblem(field, `is ${show(value)}, expected a name or a number`);
}

/** A rating in any of the ways files spell it: CSV has no booleans, and some writers put 0 and 1. */
function ratingOf(value: unknown): boolean | undefined {
  if (typeof value === "boolean") return value;
  const spelled = String(value).trim().toLowerCase();
  if (spelled === "true" || spelled === "1") return true;
  if (spelled === "false" || spelled === "0") return false;
  return undefined;
}

const systemTurn = (row: Row): readonly Message[] =>
  has(row, "system") && row.system !== "" ? [{ role: "system", content: soundText(row.system, "system") }] : [];

/** A text is one turn of `role`. */
const turnsOrText = (value: unknown, field: string, role: "user" | "assistant"): readonly Message[] =>
  typeof value === "string"
    ? [{ role, content: wholeText(value, field) }]
    : messagesOf(value, field, { needsOpener: false, needsAssistant: role === "assistant" });

const sameTurn = (a: Message | undefined, b: Message | undefined): boolean => JSON.stringify(a) === JSON.stringify(b);

const startsWith = (turns: readonly Message[], beginning: readonly Message[]): boolean =>
  beginning.every((turn, i) => sameTurn(turn, turns[i]));

/** How many turns two conversations begin with alike. */
function sharedTurns(a: readonly Message[], b: readonly Message[]): number {
  const different = a.findIndex((turn, i) => !sameTurn(turn, b[i]));
  return different < 0 ? a.length : different;
}
