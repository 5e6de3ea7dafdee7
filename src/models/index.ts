/** Architectures, one file each. */

export { type LoadModelOptions, loadModel, type SaveModelOptions, saveModel } from "#platform/models/saved-model";
export { configOf, type HuggingFaceConfig, knownArchitectures, modelFromConfig, registerArchitecture } from "./architectures.js";
export { Bloom, BloomBlock, type BloomConfig, type BloomOptions } from "./bloom.js";
export {
  CausalLM,
  causalMask,
  type ForwardOptions,
  type KeyValueCache,
  type LayerType,
  type LossOptions,
  positionsOf,
  rotaryOf,
} from "./causal-lm.js";
export { Cohere, type CohereConfig, CohereLayer, type CohereOptions } from "./cohere.js";
export type { Architecture } from "./configs/entries.js";
export * as configEntries from "./configs/entries.js";
export { Gemma, type GemmaConfig, GemmaLayer, type GemmaOptions } from "./gemma.js";
export { GPTNeoX, type GPTNeoXConfig, GPTNeoXLayer, type GPTNeoXOptions } from "./gpt-neox.js";
export { GPT2, GPT2Attention, GPT2Block, type GPT2Config, GPT2MLP, type GPT2Options } from "./gpt2.js";
export { GPTJ, GPTJBlock, type GPTJConfig, type GPTJOptions } from "./gptj.js";
export { attentionOf, feedForwardOf, Llama, LlamaLayer } from "./llama.js";
export type { LlamaConfig, LlamaExperts, LlamaModelType, LlamaOptions } from "./llama-options.js";
export { Olmo2, type Olmo2Config, Olmo2Layer, type Olmo2Options } from "./olmo2.js";
export { Phi, type PhiConfig, PhiLayer, type PhiOptions } from "./phi.js";
export { Phi3, type Phi3Config, Phi3Layer, type Phi3Options } from "./phi3.js";
export { RecurrentLM, type RecurrentLMConfig, type RecurrentLMOptions } from "./recurrent-lm.js";
