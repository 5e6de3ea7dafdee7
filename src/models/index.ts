/** Architectures, one file each. */

export { type LoadModelOptions, loadModel, type SaveModelOptions, saveModel } from "#platform/models/saved-model";
export { configOf, type HuggingFaceConfig, modelFromConfig } from "./architectures.js";
export { CausalLM, type ForwardOptions, type KeyValueCache, type LayerType } from "./causal-lm.js";
export { GPT2, GPT2Attention, GPT2Block, type GPT2Config, GPT2MLP, type GPT2Options } from "./gpt2.js";
export { attentionOf, feedForwardOf, Llama, LlamaLayer } from "./llama.js";
export type { LlamaConfig, LlamaExperts, LlamaModelType, LlamaOptions } from "./llama-options.js";
