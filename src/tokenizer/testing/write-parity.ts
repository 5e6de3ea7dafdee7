/**
 * Writes what reference/tokenizers_parity.py compares into a folder: the corpora, the tokenizers, their ids.
 * Run: node --import ./scripts/typescript-loader.mjs -C tsumiki-source src/tokenizer/testing/write-parity.ts FOLDER
 */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tokenizerFromJson } from "../index.js";
import { trainedConfig } from "../training/trained-json.js";
import { parityCorpora } from "./parity-corpora.js";
import { parityTokenizers, trainingText } from "./parity-tokenizers.js";

const folder = process.argv[2];
if (folder === undefined) throw new Error("which folder?");
await mkdir(folder, { recursive: true });
const corpora = await parityCorpora();
await writeFile(join(folder, "training.txt"), trainingText(corpora));
for (const [name, text] of Object.entries(corpora)) await writeFile(join(folder, `${name}.txt`), text);
for (const [name, json] of Object.entries(await parityTokenizers(corpora)))
  await tokenizerFromJson(json, trainedConfig(json.added_tokens, {})).save(join(folder, name));
