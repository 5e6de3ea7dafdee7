export type { DecodeStream } from "./decode-stream.js";
export { loadTokenizer } from "./load.js";
export { type DecodeOptions, type Tokenizer, type TokenizerConfig, tokenizerFromJson } from "./tokenizer.js";
export type { AddedToken, Stage, TokenizerJson } from "./tokenizer-json.js";
export { type TokenizerTraining, trainTokenizer } from "./train.js";
