/** Architectures, one file each. */

export { type LoadModelOptions, loadModel, type SaveModelOptions, saveModel } from "#platform/models/saved-model";
export { configOf, type HuggingFaceConfig, modelFromConfig } from "./architectures.js";
export { CausalLM, type ForwardOptions, type KeyValueCache } from "./causal-lm.js";
export { GPT2, GPT2Attention, GPT2Block, type GPT2Config, GPT2MLP, type GPT2Options } from "./gpt2.js";
export { Llama, LlamaAttention, type LlamaConfig, LlamaLayer, type LlamaOptions } from "./llama.js";
