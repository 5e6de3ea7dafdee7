export type { DecodeStream } from "./decode-stream.js";
export type { Encoding, Padding, Truncation } from "./encoding.js";
export { loadTokenizer } from "./load.js";
export type { Segmentation } from "./models/unigram.js";
export type { TokenRole } from "./named-tokens.js";
export {
  type DecodeOptions,
  type DecodeStreamOptions,
  type EncodeOptions,
  type SampleOptions,
  type TokenizeOptions,
  type Tokenizer,
  type TokenizerConfig,
  type TokenizerInput,
  tokenizerFromJson,
} from "./tokenizer.js";
export type { AddedToken, Stage, TokenizerJson } from "./tokenizer-json.js";
export {
  startTraining,
  type TokenizerTraining,
  type TrainingProgress,
  type TrainingRun,
  type TrainingStep,
  trainTokenizer,
} from "./train.js";
export type { MergeStep } from "./training/bpe.js";
export { type TextSource, textBlocks } from "./training/count-words.js";
export { type PresetName as TokenizerPreset, presetNames as tokenizerPresets } from "./training/presets.js";
export type { UnigramStep } from "./training/unigram.js";
export { type WordCounts, wordAt } from "./training/word-counter.js";
