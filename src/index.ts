/**
 * Tsumiki: a transformer toolkit. Everything that the sub-paths export, but for the operators and other parts of
 * `tsumiki/graph` that a model is written with, and `tsumiki/onnx`.
 */

export * from "./chat/index.js";
export * from "./checkpoint/index.js";
export * from "./data/index.js";
export * from "./engine/index.js";
export { type ErrorCode, TsumikiError } from "./errors.js";
export * from "./generate/index.js";
export * from "./models/index.js";
export * from "./nn/index.js";
export * from "./optim/index.js";
export * from "./program/index.js";
export * from "./runs/index.js";
export * from "./tokenizer/index.js";
export * from "./train/index.js";
export * from "./tuning/index.js";
