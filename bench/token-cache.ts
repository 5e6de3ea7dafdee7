/** How fast tokens are written to their cache, beside encoding alone: megabytes of text a second, and the ratio, of each of five rounds. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachedTokens, corpus } from "../src/data/index.js";
import { trainTokenizer } from "../src/tokenizer/index.js";

const book = await corpus("moby-dick");
const tokenizer = await trainTokenizer(book, { model: "bpe", vocabSize: 6400 });
const documents = Array.from({ length: 16 }, () => book.match(/[\s\S]{1,20000}/g) ?? []).flat();
const megabytes = documents.reduce((total, text) => total + Buffer.byteLength(text), 0) / 1e6;

async function* examples() {
  for (const text of documents) yield { kind: "text", text } as const;
}

for (let round = 1; round <= 5; round++) {
  const folder = mkdtempSync(join(tmpdir(), "tsumiki-tokens-"));
  const begin = performance.now();
  for (const text of documents) tokenizer.encode(text);
  const encoded = performance.now();
  const tokens = await cachedTokens(examples, tokenizer, { folder, content: `round ${round}` });
  const written = performance.now();
  tokens[Symbol.dispose]();
  rmSync(folder, { recursive: true });
  const rates = [encoded - begin, written - encoded].map((milliseconds) => (megabytes / milliseconds) * 1000) as [number, number];
  console.log(`encoded ${rates[0].toFixed(1)} MB/s, cached ${rates[1].toFixed(1)} MB/s: ${(rates[1] / rates[0]).toFixed(2)}`);
}
