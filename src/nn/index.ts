/** Modules: the blocks that models are built of. */

export { alibiSlopes } from "./alibi.js";
export { type AttendOptions, attend, causal, type LayerCache, type Mask, mergeHeads, splitHeads } from "./attention.js";
export type { KeysAndValues } from "./attention-projections.js";
export { CrossAttention, type CrossAttentionOptions } from "./cross-attention.js";
export { dropout } from "./dropout.js";
export {
  type Activation,
  type ActivationName,
  activations,
  Bilinear,
  FeedForward,
  type FeedForwardOptions,
  GatedFeedForward,
  GEGLU,
  GLU,
  ReGLU,
  reluSquared,
  SwiGLU,
} from "./feed-forward.js";
export { FusedAttention, type FusedAttentionOptions } from "./fused-attention.js";
export {
  type AttentionInputs,
  GroupedQueryAttention,
  type GroupedQueryAttentionOptions,
  type Normalization,
  type QueryKeyNorm,
} from "./grouped-query-attention.js";
export * as initializers from "./initializers.js";
export { Conv1D, Embedding, Linear, type LinearOptions } from "./linear.js";
export {
  type LinearCrossEntropyOptions,
  type LogitsOf,
  type LogitsOptions,
  linearCrossEntropy,
  linearLogits,
  linearLosses,
  logitsLosses,
  type OutputLayer,
  type TrainingLosses,
} from "./linear-cross-entropy.js";
export {
  type LoadBalancingOptions,
  loadBalancingLoss,
  MixtureOfExperts,
  type MixtureOfExpertsOptions,
  type Routing,
} from "./mixture-of-experts.js";
export { Module, withRoot } from "./module.js";
export {
  BatchNorm,
  type BatchNormOptions,
  type DeepNormConstants,
  deepNormConstants,
  HeadLayerNorm,
  InstanceNorm,
  LayerNorm,
  type NormOptions,
  OffsetRMSNorm,
  RMSNorm,
} from "./norm.js";
export { AdditiveAttention, linearAttention } from "./other-attention.js";
export {
  type EffectiveValues,
  effectiveValues,
  effectiveWeight,
  type Parametrization,
  parametrizationChanged,
  parametrizationsOf,
  parametrize,
  unparametrize,
  type WeightedModule,
} from "./parametrization.js";
export { type CellKind, Recurrent, RecurrentDirection, type RecurrentOptions } from "./recurrent.js";
export { RelativeBias, type RelativeBiasOptions } from "./relative-bias.js";
export { type Block, parallelBlocks, postNorm, preNorm, sandwichNorm } from "./residual.js";
export { type RopeScaling, ropeTypes } from "./rope-scaling.js";
export { Rotary, type RotaryOptions } from "./rotary.js";
export { sinusoidalPositions } from "./sinusoidal.js";
export { softCapped } from "./soft-cap.js";
