/** `tsumiki data inspect`: what is in files of data, with samples whose loss mask is coloured. */

import { styleText } from "node:util";
import { assistantSpans, type ChatTemplate, chatTemplate, chatTemplates, loadChatTemplate, type Message } from "../chat/index.js";
import { describeBadRow } from "../data/bad-rows.js";
import type { Example } from "../data/example.js";
import { type DataInspection, inspectData, type LengthSummary } from "../data/inspect.node.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { controlsShown } from "../runs/control-pictures.js";
import { loadTokenizer } from "../tokenizer/index.js";

export interface InspectFlags {
  readonly textField?: string;
  readonly tokenizer?: string;
  readonly template?: string;
  readonly samples: string;
  readonly json?: boolean;
}

export async function inspect(sources: readonly string[], flags: InspectFlags): Promise<void> {
  const samples = Number(flags.samples);
  if (!Number.isInteger(samples) || samples < 0)
    throw new ArgumentError(`--samples takes a whole number from 0, but ${JSON.stringify(flags.samples)} was given.`);
  const tokenizer = flags.tokenizer === undefined ? undefined : await loadTokenizer(flags.tokenizer);
  const template = flags.template === undefined ? undefined : await templateOf(flags.template);
  const inspection = await inspectData(sources, {
    samples,
    ...(flags.textField === undefined ? {} : { textField: flags.textField }),
    ...(tokenizer ? { lengthOf: (text: string) => tokenizer.encode(text).length } : {}),
  });
  const unit = tokenizer ? "tokens" : "characters";
  if (flags.json) console.log(JSON.stringify({ unit, ...inspection }));
  else for (const line of describe(inspection, unit, template)) console.log(line);
}

/** The name of a template that is known here, or a folder with one. */
const templateOf = async (name: string): Promise<ChatTemplate> =>
  Object.hasOwn(chatTemplates, name) ? chatTemplate(chatTemplates[name as keyof typeof chatTemplates]) : loadChatTemplate(name);

const count = (value: number): string => value.toLocaleString("en-US");
const counted = (value: number, what: string): string => `${count(value)} ${what}${value === 1 ? "" : "s"}`;
const title = (text: string): string => text.padEnd(11);

export function describe(inspection: DataInspection, unit: string, template?: ChatTemplate): string[] {
  const { files, ignored, rows, roles, labels, lengths, badRows, samples } = inspection;
  const shownLabels = labels.slice(0, 12).map(([label, times]) => `${label} ${count(times)}`);
  if (labels.length > shownLabels.length) shownLabels.push(`and ${count(labels.length - shownLabels.length)} more`);
  const spoken = Object.entries(roles).map(([role, times]) => `${role} ${count(times)}`);
  return [
    ...files.map(
      ({ path, kind, compression, format, rows: good, badRows: bad }) =>
        `${path}: ${kind}${compression === "none" ? "" : `, ${compression}`}; ${format ?? "no good row"}, ${counted(good, "row")}${bad > 0 ? `, ${count(bad)} bad` : ""}`,
    ),
    ...ignored.map((path) => `${path}: not read, since its ending is not known`),
    "",
    `${title("rows")}${count(rows)}${badRows.count > 0 ? `, and ${counted(badRows.count, "bad one")}` : ""}`,
    ...(spoken.length > 0 ? [`${title("turns")}${spoken.join(", ")}`] : []),
    ...(shownLabels.length > 0 ? [`${title("labels")}${shownLabels.join(", ")}`] : []),
    ...(lengths ? describeLengths(lengths, unit) : []),
    ...(badRows.count > 0 ? ["", "bad rows", ...badRows.listed.slice(0, 20).map((row) => `  ${describeBadRow(row)}`)] : []),
    ...(badRows.count > 20 ? [`  and ${count(badRows.count - 20)} more`] : []),
    ...samples.flatMap(({ place, example }) => [
      "",
      `--- ${place.file}, ${place.line === undefined ? `row ${place.row}` : `line ${place.line}`}`,
      ...showExample(example, template),
    ]),
    ...(samples.length > 0 ? ["", `${learned("like this")}: what a model learns to say; the rest is only read.`] : []),
  ];
}

const widestBar = 40;

function describeLengths(
  { total, minimum, median, percentile90, percentile99, maximum, histogram }: LengthSummary,
  unit: string,
): string[] {
  const most = Math.max(...histogram.map((bin) => bin.count));
  const width = count(maximum).length;
  return [
    `${title("length")}${count(total)} ${unit}; of a row ${count(minimum)} to ${count(maximum)}, median ${count(median)}, ` +
      `90 % up to ${count(percentile90)}, 99 % up to ${count(percentile99)}`,
    "",
    ...histogram.map(({ from, to, count: times }) => {
      const bar = "█".repeat(Math.ceil((widestBar * times) / most));
      return `  ${count(Math.max(from, minimum)).padStart(width)} – ${count(Math.min(to, maximum)).padStart(width)}  ${bar.padEnd(widestBar)} ${count(times)}`;
    }),
  ];
}

const longestSample = 1500;
const shorten = (text: string): string => (text.length > longestSample ? `${text.slice(0, longestSample)}…` : text);

/** Text that counts for the loss: green where there are colours, in double brackets elsewhere. */
function learned(text: string): string {
  const visible = controlsShown(text);
  const coloured = styleText("green", visible, { stream: process.stdout });
  return coloured === visible ? `⟦${visible}⟧` : coloured;
}

const read = (text: string): string => styleText("dim", controlsShown(text), { stream: process.stdout });

function showExample(example: Example, template: ChatTemplate | undefined): string[] {
  switch (example.kind) {
    case "text":
      return [learned(shorten(example.text))];
    case "conversation":
      return template
        ? [rendered(example, template)]
        : example.messages.map((message) => turn(message, message.role === "assistant" && message.weight !== 0));
    case "rated":
      return [
        `${example.label ? "good" : "bad"}:`,
        ...example.messages.map((message) => turn(message, example.label && message.role === "assistant")),
      ];
    case "preference":
      return [
        ...example.prompt.map((message) => turn(message, false)),
        "chosen:",
        ...example.chosen.map((message) => turn(message, message.role === "assistant")),
        "rejected:",
        ...example.rejected.map((message) => turn(message, false)),
      ];
    case "classification":
      return [
        read(shorten(example.text)),
        ...(example.secondText === undefined ? [] : [read(shorten(example.secondText))]),
        learned(String(example.label)),
      ];
    case "token-labels":
      return [example.tokens.map((token, i) => `${read(token)}/${learned(String(example.labels[i]))}`).join(" ")];
  }
}

function turn({ role, content, reasoning_content, tool_calls }: Message, isLearned: boolean): string {
  const parts = [
    ...(reasoning_content ? [`(thinks) ${reasoning_content}`] : []),
    ...(typeof content === "string" ? [content] : (content ?? []).flatMap(({ text }) => text ?? [])),
    ...(tool_calls ?? []).map((call) => `(calls) ${JSON.stringify(call.function)}`),
  ].filter((part) => part !== "");
  const text = shorten(parts.join("\n"));
  return `${role}: ${isLearned ? learned(text) : read(text)}`;
}

/** As the template writes the conversation, with what the assistant says coloured. */
function rendered(conversation: Example & { readonly kind: "conversation" }, template: ChatTemplate): string {
  let said: ReturnType<typeof assistantSpans>;
  try {
    said = assistantSpans(template, conversation);
  } catch (error) {
    if (error instanceof TsumikiError) return `(not rendered) ${error.message}`; // one that the template refuses is worth seeing too
    throw error;
  }
  const { text, spans } = said;
  let at = 0;
  const parts: string[] = [];
  for (const [start, end] of spans) {
    parts.push(read(text.slice(at, start)), learned(text.slice(start, end)));
    at = end;
  }
  return [...parts, read(text.slice(at))].filter((part) => part !== "").join("");
}
