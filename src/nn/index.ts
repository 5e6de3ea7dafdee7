/** Modules: the blocks that models are built of. */

export { type AttendOptions, attend, causal, type LayerCache, type Mask, mergeHeads, splitHeads } from "./attention.js";
export { dropout } from "./dropout.js";
export { type GatedFeedForwardOptions, SwiGLU } from "./feed-forward.js";
export * as initializers from "./initializers.js";
export { Embedding, Linear, type LinearOptions } from "./linear.js";
export { linearCrossEntropy } from "./linear-cross-entropy.js";
export { Module } from "./module.js";
export { LayerNorm, type NormOptions, RMSNorm } from "./norm.js";
export { Rotary, type RotaryOptions } from "./rotary.js";
