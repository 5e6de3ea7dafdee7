/** The tokenizers that are compared with Python's: trained on a part of the corpora, so that no vocabulary must be kept in the repository. */

import { type Tokenizer, type TokenizerTraining, trainTokenizer } from "../index.js";
import type { TokenizerJson } from "../tokenizer-json.js";
import type { ParityCorpora } from "./parity-corpora.js";

const trainings: Readonly<Record<string, Exclude<TokenizerTraining, { model: "character" }>>> = {
  gpt2: { model: "bpe", preset: "gpt2", vocabSize: 6000 },
  llama3: { model: "bpe", preset: "llama3", vocabSize: 6000 },
  qwen: { model: "bpe", preset: "qwen", vocabSize: 6000 },
  minimind: { model: "bpe", preset: "minimind", vocabSize: 6400 },
  bert: { model: "wordpiece", preset: "bert", vocabSize: 9000 },
  "bert-likelihood": { model: "wordpiece", preset: "bert", by: "likelihood", vocabSize: 9000 },
  t5: { model: "unigram", preset: "t5", vocabSize: 9000 },
  characters: { model: "bpe", level: "character", vocabSize: 9000 },
};

/** A cased BERT differs in its normalizer alone. */
function cased(json: TokenizerJson): TokenizerJson {
  return { ...json, normalizer: { ...json.normalizer, type: "BertNormalizer", lowercase: false, strip_accents: false } };
}

export const trainingText = ({ english, chinese, code }: ParityCorpora): string =>
  `${english.slice(0, 250_000)}\n${chinese.slice(0, 80_000)}\n${code.slice(0, 150_000)}\n`;

export async function parityTokenizers(corpora: ParityCorpora): Promise<Record<string, TokenizerJson>> {
  const text = trainingText(corpora);
  const trained: Record<string, TokenizerJson> = {};
  for (const [name, training] of Object.entries(trainings)) {
    const tokenizer: Tokenizer = await trainTokenizer(text, training);
    trained[name] = tokenizer.toJSON();
  }
  trained["bert-cased"] = cased(trained.bert as TokenizerJson);
  return trained;
}
