/**
 * Trains one tokenizer or encodes with one, in a process of its own: `tokenizer.ts TASK`, where TASK is the JSON of a `TokenizerTask`.
 * Prints one line: a `TokenizerReply`. `tokenizer.py` does the same with Rust's library.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { trainTokenizer } from "../../src/tokenizer/index.js";
import { loadTokenizer } from "../../src/tokenizer/load.js";
import type { TokenizerReply, TokenizerTask } from "../tokenizer.js";

const task = JSON.parse(process.argv[2] ?? "") as TokenizerTask;
const documents = JSON.parse(readFileSync(task.documents, "utf8")) as string[];
const bytes = documents.reduce((sum, text) => sum + Buffer.byteLength(text), 0);

async function tokenizer(): Promise<{ tokenizer: Awaited<ReturnType<typeof loadTokenizer>>; trainSeconds: number }> {
  if (task.tokenizer !== undefined) return { tokenizer: await loadTokenizer(task.tokenizer), trainSeconds: 0 };
  const { model, vocabSize, threads, save } = task;
  const started = performance.now();
  const specialTokens = model === "unigram" ? { specialTokens: ["<pad>", "</s>", "<unk>"] } : {};
  const trained = await trainTokenizer(documents, { model, vocabSize, threads, ...specialTokens });
  const trainSeconds = (performance.now() - started) / 1000;
  writeFileSync(save, JSON.stringify(trained));
  return { tokenizer: trained, trainSeconds };
}

const { tokenizer: made, trainSeconds } = await tokenizer();
const started = performance.now();
const encoded = made.encodeBatch(documents);
const encodeSeconds = (performance.now() - started) / 1000;
const reply: TokenizerReply = {
  trainSeconds,
  encodeMegabytesPerSecond: bytes / 1e6 / encodeSeconds,
  tokens: encoded.reduce((sum, ids) => sum + ids.length, 0),
  peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  version: `tsumiki on Node ${process.versions.node}`,
};
console.log(JSON.stringify(reply));
