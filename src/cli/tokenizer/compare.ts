/** `tsumiki tokenizer compare`: two tokenizers on the same texts. */

import { textOf } from "../../data/example.js";
import { readExamples } from "../../data/examples.node.js";
import { TsumikiError } from "../../errors.js";
import { loadTokenizer, type Tokenizer } from "../../tokenizer/index.js";

/** What a tokenizer made of the texts. */
interface Measured {
  readonly folder: string;
  readonly vocabSize: number;
  tokens: number;
  readonly used: Set<number>;
  seconds: number;
  /** Documents that do not come back as they were when they are decoded. */
  changed: number;
  readonly tokenizer: Tokenizer;
}

export async function compareCommand(
  folders: readonly string[],
  files: readonly string[],
  { json = false }: { readonly json?: boolean },
) {
  const sides: Measured[] = [];
  for (const folder of folders) {
    const tokenizer = await loadTokenizer(folder);
    sides.push({ folder, vocabSize: tokenizer.vocabSize, tokens: 0, used: new Set(), seconds: 0, changed: 0, tokenizer });
  }
  const total = { documents: 0, bytes: 0, characters: 0 };
  for await (const example of await readExamples(files)) {
    const text = textOf(example);
    total.documents++;
    total.bytes += Buffer.byteLength(text);
    total.characters += [...text].length;
    // By turns first, so that neither always finds the text in the processor's cache.
    const order = total.documents % 2 === 0 ? sides : [...sides].reverse();
    for (const side of order) measure(side, text);
  }
  if (total.bytes === 0) throw new TsumikiError("DATA", `${files.join(", ")}: there is no text to compare on.`);
  const rows = sides.map(({ folder, vocabSize, tokens, used, seconds, changed }) => ({
    folder,
    vocabSize,
    tokens,
    bytesPerToken: total.bytes / tokens,
    charactersPerToken: total.characters / tokens,
    usedTokens: used.size,
    vocabularyUse: used.size / vocabSize,
    encodeMegabytesPerSecond: total.bytes / 1e6 / seconds,
    changedDocuments: changed,
  }));
  if (json) console.log(JSON.stringify({ ...total, tokenizers: rows }));
  else console.log(table(rows, total));
}

function measure(side: Measured, text: string): void {
  const started = performance.now();
  const ids = side.tokenizer.encode(text);
  side.seconds += (performance.now() - started) / 1000;
  side.tokens += ids.length;
  for (const id of ids) side.used.add(id);
  if (side.tokenizer.decode(ids) !== text) side.changed++;
}

type Row = Record<
  | "vocabSize"
  | "tokens"
  | "bytesPerToken"
  | "charactersPerToken"
  | "usedTokens"
  | "vocabularyUse"
  | "encodeMegabytesPerSecond"
  | "changedDocuments",
  number
> & { readonly folder: string };

function table(rows: readonly Row[], { documents, bytes }: { documents: number; bytes: number }): string {
  const whole = (value: number) => value.toLocaleString("en-US");
  const lines: [string, (row: Row) => string][] = [
    ["", ({ folder }) => folder],
    ["vocabulary", ({ vocabSize }) => `${whole(vocabSize)} tokens`],
    ["text", ({ tokens }) => `${whole(tokens)} tokens`],
    ["bytes per token", ({ bytesPerToken }) => bytesPerToken.toFixed(3)],
    ["characters per token", ({ charactersPerToken }) => charactersPerToken.toFixed(3)],
    ["vocabulary used", ({ vocabularyUse, usedTokens }) => `${(vocabularyUse * 100).toFixed(1)} % (${whole(usedTokens)})`],
    ["encoding", ({ encodeMegabytesPerSecond }) => `${encodeMegabytesPerSecond.toFixed(1)} MB/s`],
    ["decoded text differs", ({ changedDocuments }) => `${whole(changedDocuments)} of ${whole(documents)} documents`],
  ];
  const cells = lines.map(([name, show]) => [name, ...rows.map(show)]);
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  const printed = cells.map((line) =>
    line
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return [`${whole(documents)} ${documents === 1 ? "document" : "documents"}, ${(bytes / 1e6).toFixed(2)} MB`, ...printed].join(
    "\n",
  );
}
