/** Training a tokenizer on texts. */

import { defaultThreads } from "#platform/tokenizer/training/start-counter";
import { ArgumentError, TsumikiError } from "../errors.js";
import { createSectionFinder } from "./pipeline/added-tokens.js";
import { wellFormed } from "./text/well-formed.js";
import { type Tokenizer, tokenizerFromJson } from "./tokenizer.js";
import type { AddedToken } from "./tokenizer-json.js";
import { type BytePairVocabulary, bytePairSteps, type MergeStep } from "./training/bpe.js";
import { countWords, type TextSource } from "./training/count-words.js";
import {
  type Preset,
  type PresetName,
  type PresetToken,
  plainBytes,
  plainCharacters,
  presetFor,
  presets,
  sentinels,
  trainableModels,
} from "./training/presets.js";
import {
  addedToken,
  assembled,
  bytePairModel,
  characterTokenizerJson,
  trainedConfig,
  unigramModelJson,
  wordPieceModelJson,
} from "./training/trained-json.js";
import { type UnigramStep, unigramSteps } from "./training/unigram.js";
import type { WordCounts } from "./training/word-counter.js";
import { likelihoodSteps } from "./training/wordpiece-likelihood.js";

interface CommonTraining {
  /** Tokens that stand for themselves wherever they occur. They replace those of the preset. */
  specialTokens?: readonly string[];
  signal?: AbortSignal;
}

interface SubwordTraining extends CommonTraining {
  /** Tokens in all, special ones and the alphabet included; fewer when the text has no more to learn from. */
  vocabSize: number;
  /** How the text is normalized and cut, and what stands around it, as with this well-known tokenizer. */
  preset?: PresetName;
  /** Threads that count words. Default: one for each core; they start only for texts that are worth it. */
  threads?: number;
  /** Distinct words that are kept in memory, on average 30 bytes each. Default 8 million; see `onForgotten`. */
  maxWords?: number;
  onProgress?: (progress: TrainingProgress) => void;
  /** Is told of rare words that were forgotten because there were more than `maxWords`. */
  onForgotten?: (forgotten: WordCounts["forgotten"]) => void;
}

interface MergeTraining extends SubwordTraining {
  /** Pairs that occur less often are not merged. Default 1. */
  minFrequency?: number;
  /** Characters in the alphabet; rarer ones become unknown. Default: all, or of bytes the 256. */
  limitAlphabet?: number;
}

export type TokenizerTraining =
  | (MergeTraining & {
      /** Byte pair encoding (Sennrich et al. 2016). */
      model: "bpe";
      /** "byte" (the default; Radford et al. 2019) encodes any text; "character" marks the ends of words and drops spaces. */
      level?: "byte" | "character";
    })
  | (MergeTraining & {
      /** The pieces of BERT. Default preset: bert. */
      model: "wordpiece";
      /** What is merged next: the most frequent pair (the default), or what raises the text's likelihood most, as in the paper. */
      by?: "frequency" | "likelihood";
    })
  | (SubwordTraining & {
      /** A unigram language model (Kudo 2018). Default preset: t5. */
      model: "unigram";
    })
  | (CommonTraining & {
      /** One token for each code point of the text. Other characters cannot be encoded. */
      model: "character";
      /** When given, a text with more different characters is refused. */
      vocabSize?: number;
    });

export type TrainingStep = MergeStep | UnigramStep;

/** How far training is: first text is read, then steps are done. */
export type TrainingProgress =
  /** UTF-16 units that were read. */
  | { readonly reading: number }
  /** Tokens of the vocabulary so far (Unigram: pieces that are left), and how many are wanted. */
  | { readonly tokens: number; readonly of: number };

/** A training that is done step by step: for a page that shows it. */
export interface TrainingRun {
  /** The distinct pieces of the text and how often they occur. */
  readonly words: WordCounts;
  /** Each step does a part of the work and says what it did; the generator returns the tokenizer. */
  readonly steps: Generator<TrainingStep, Tokenizer, void>;
}

/**
 * Learns a vocabulary from texts. The same texts and options always give the same tokenizer, whatever the number of threads; where
 * special tokens occur in a text they are not learned from.
 *
 * @param source a text, or several that may be longer in all than memory (`textBlocks` cuts a stream)
 * @throws TsumikiError DATA for an empty text, TOKENIZER for a vocabulary that is too small or special tokens that clash, ABORTED
 */
export async function trainTokenizer(source: TextSource, options: TokenizerTraining): Promise<Tokenizer> {
  if (options.model === "character") return trainCharacters(source, options);
  const { steps } = await startTraining(source, options);
  const { signal, onProgress, vocabSize } = options;
  let next = steps.next();
  for (let last = performance.now(); !next.done; next = steps.next()) {
    if (performance.now() - last < 50) continue;
    const step = next.value;
    onProgress?.({ tokens: step.kind === "merge" ? step.id + 1 : step.pieces, of: vocabSize });
    await new Promise((resolve) => setTimeout(resolve)); // for progress bars, and for the signal
    if (signal?.aborted) throw new TsumikiError("ABORTED", "Training the tokenizer was stopped.");
    last = performance.now();
  }
  return next.value;
}

/** Counts the words of the texts and is then ready to learn from them step by step. Errors as in `trainTokenizer`. */
export async function startTraining(
  source: TextSource,
  options: Exclude<TokenizerTraining, { model: "character" }>,
): Promise<TrainingRun> {
  const preset = presetOf(options);
  const tokens = tokensOf(options, preset);
  checkVocabularySize(options.vocabSize, preset, tokens.length);
  const { threads = defaultThreads, maxWords = 1 << 23, signal, onProgress } = options;
  const words = await countWords(source, {
    stages: {
      normalizer: preset.normalizer,
      pre_tokenizer: preset.preTokenizer,
      added_tokens: tokens.map((token, id) => addedToken(token, id)),
    },
    threads,
    maxWords,
    signal,
    onProgress: onProgress && ((reading) => onProgress({ reading })),
  });
  if (words.size === 0) throw emptyText();
  if (words.forgotten.words > 0) options.onForgotten?.(words.forgotten);
  return { words, steps: learn(words, options, preset, tokens) };
}

const emptyText = () => new TsumikiError("DATA", "The text to train a tokenizer on is empty.");

function presetOf(options: Exclude<TokenizerTraining, { model: "character" }>): Preset {
  const { model, preset } = options as { model: string; preset?: string };
  if (!trainableModels.some((known) => known === model))
    throw new ArgumentError(
      `A tokenizer's model is one of ${trainableModels.join(", ")}, but ${JSON.stringify(model)} was given.`,
    );
  if (preset !== undefined) {
    const known = presetFor(preset);
    if (known.model !== model)
      throw new ArgumentError(
        `The preset ${preset} is a ${known.model} tokenizer; it does not go with model: ${JSON.stringify(model)}.`,
      );
    if (options.model === "bpe" && options.level === "character")
      throw new ArgumentError(`The preset ${preset} works on bytes; leave it out for level: "character".`);
    return known;
  }
  if (options.model === "bpe") return options.level === "character" ? plainCharacters : plainBytes;
  return options.model === "wordpiece" ? presets.bert : presets.t5;
}

function tokensOf({ specialTokens, model }: TokenizerTraining, preset?: Preset): readonly PresetToken[] {
  if (specialTokens === undefined) return preset?.tokens ?? [];
  if (specialTokens.includes("") || new Set(specialTokens).size < specialTokens.length)
    throw new TsumikiError(
      "TOKENIZER",
      `Special tokens must be different and not empty, but ${JSON.stringify(specialTokens)} was given.`,
    );
  // What the pipeline itself needs comes first where it was not given: [UNK], [CLS], ...
  const needed = preset && (model === "wordpiece" || model === "unigram" || !preset.byteLevel) ? preset.tokens : [];
  const given = specialTokens.map((content) => ({ content, special: true }));
  return [...needed.filter(({ content }) => !specialTokens.includes(content)), ...given];
}

function checkVocabularySize(vocabSize: number, preset: Preset, tokenCount: number): void {
  const alphabet = preset.byteLevel ? 256 : 1;
  const smallest = alphabet + tokenCount;
  if (Number.isInteger(vocabSize) && vocabSize >= smallest) return;
  throw new TsumikiError(
    "TOKENIZER",
    `vocabSize is ${vocabSize}, but this vocabulary holds ${preset.byteLevel ? "the 256 bytes" : "at least one character"}` +
      `${tokenCount > 0 ? ` and ${tokenCount} special tokens` : ""}: give a whole number of at least ${smallest} ` +
      "(1,024 suits a book, 6,400 to 50,000 larger collections).",
  );
}

function* learn(
  words: WordCounts,
  options: Exclude<TokenizerTraining, { model: "character" }>,
  preset: Preset,
  tokens: readonly PresetToken[],
): Generator<TrainingStep, Tokenizer, void> {
  const last = preset.tokensStand === "last";
  const contents = tokens.map(({ content }) => content);
  // T5's sentinels are part of its size, where there is room for them.
  const extra =
    preset === presets.t5 && options.specialTokens === undefined && options.vocabSize >= 20 * sentinels.length ? sentinels : [];
  const learned = {
    vocabSize: options.vocabSize - extra.length - (last ? tokens.length : 0),
    specialTokens: last ? [] : contents,
    byteLevel: preset.byteLevel,
  };
  let model: ReturnType<typeof bytePairModel>;
  let size: number;
  if (options.model === "unigram") {
    const vocabulary = yield* unigramSteps(words, { ...learned, unknownToken: "<unk>" });
    model = unigramModelJson(vocabulary, preset.modelOptions);
    size = vocabulary.pieces.length;
  } else {
    const vocabulary = yield* mergeSteps(words, options, preset, learned);
    model =
      options.model === "bpe"
        ? bytePairModel(vocabulary, preset.modelOptions)
        : wordPieceModelJson(vocabulary, preset.modelOptions);
    size = vocabulary.tokens.length;
    if (last) refuseCollisions(vocabulary, contents);
  }
  const added = tokens.map((token, i) => addedToken(token, last ? size + i : i));
  const end = size + (last ? tokens.length : 0);
  added.push(...extra.map((content, i) => addedToken({ content, special: true }, end + i)));
  const idOf = (token: string): number => {
    const found = added.find(({ content }) => content === token);
    if (found) return found.id;
    throw new TsumikiError("TOKENIZER", `The preset puts ${token} around texts: keep it among the special tokens.`);
  };
  const json = assembled({
    added,
    normalizer: preset.normalizer,
    preTokenizer: preset.preTokenizer,
    postProcessor: preset.postProcessor(idOf),
    decoder: preset.decoder,
    model,
  });
  const config = Object.entries(preset.config).filter(
    ([key, value]) => !key.endsWith("_token") || added.some(({ content }) => content === value),
  );
  return tokenizerFromJson(json, trainedConfig(added, Object.fromEntries(config)));
}

function mergeSteps(
  words: WordCounts,
  options: Extract<TokenizerTraining, { model: "bpe" | "wordpiece" }>,
  { modelOptions }: Preset,
  learned: { vocabSize: number; specialTokens: readonly string[]; byteLevel: boolean },
): Generator<MergeStep, BytePairVocabulary, void> {
  const { minFrequency, limitAlphabet } = options;
  const { continuing_subword_prefix: continuingPrefix, end_of_word_suffix: endOfWordSuffix } = modelOptions;
  const merging = {
    ...learned,
    ...(typeof continuingPrefix === "string" && { continuingPrefix }),
    ...(typeof endOfWordSuffix === "string" && { endOfWordSuffix }),
    ...(minFrequency !== undefined && { minFrequency }),
    ...(limitAlphabet !== undefined && { limitAlphabet }),
  };
  return options.model === "wordpiece" && options.by === "likelihood"
    ? likelihoodSteps(words, merging)
    : bytePairSteps(words, merging);
}

/** Tokens that come last are not known to the trainer, which may have made one that is spelled alike. */
function refuseCollisions({ tokens }: BytePairVocabulary, contents: readonly string[]): void {
  const learned = new Set(tokens);
  for (const token of contents)
    if (learned.has(token))
      throw new TsumikiError(
        "TOKENIZER",
        `The special token ${JSON.stringify(token)} is spelled like a token that was learned; choose another spelling, as <|${token}|>.`,
      );
}

async function trainCharacters(
  source: TextSource,
  options: Extract<TokenizerTraining, { model: "character" }>,
): Promise<Tokenizer> {
  const specialTokens = tokensOf(options).map(({ content }) => content);
  const added: AddedToken[] = specialTokens.map((content, id) => addedToken({ content, special: true }, id));
  const sections = createSectionFinder(added, ({ content }) => content);
  const found = new Set<string>();
  let isEmpty = true;
  for await (const text of typeof source === "string" ? [source] : source) {
    if (options.signal?.aborted) throw new TsumikiError("ABORTED", "Training the tokenizer was stopped.");
    if (text !== "") isEmpty = false;
    const whole = wellFormed(text);
    for (const { start, end, id } of sections(whole))
      if (id === undefined) for (const character of whole.slice(start, end)) found.add(character);
  }
  if (isEmpty) throw emptyText();
  const { vocabSize } = options;
  const tokens = [...specialTokens, ...[...found].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0))];
  if (tokens.length < 2 || (vocabSize !== undefined && !(vocabSize >= tokens.length))) {
    throw new TsumikiError(
      "TOKENIZER",
      `The text has ${found.size} different characters${specialTokens.length > 0 ? `, with special tokens ${tokens.length} tokens` : ""}, ` +
        `but ${tokens.length < 2 ? "a vocabulary needs at least 2 tokens" : `vocabSize is ${vocabSize}; leave it out, or use model: "bpe"`}.`,
    );
  }
  return tokenizerFromJson(characterTokenizerJson(tokens, added), trainedConfig(added, {}));
}
