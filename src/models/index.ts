/** Architectures, one file each. */

export { type LoadModelOptions, loadModel, type SaveModelOptions, saveModel } from "#platform/models/saved-model";
export { configOf, type HuggingFaceConfig, knownArchitectures, modelFromConfig, registerArchitecture } from "./architectures.js";
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
export type { Architecture } from "./configs/entries.js";
export * as configEntries from "./configs/entries.js";
export { Bloom, BloomBlock, type BloomConfig, type BloomOptions } from "./decoders/bloom.js";
export { Cohere, type CohereConfig, CohereLayer, type CohereOptions } from "./decoders/cohere.js";
export { Gemma, type GemmaConfig, GemmaLayer, type GemmaOptions } from "./decoders/gemma.js";
export { GPTNeoX, type GPTNeoXConfig, GPTNeoXLayer, type GPTNeoXOptions } from "./decoders/gpt-neox.js";
export { GPT2, GPT2Attention, GPT2Block, type GPT2Config, GPT2MLP, type GPT2Options } from "./decoders/gpt2.js";
export { GPTJ, GPTJBlock, type GPTJConfig, type GPTJOptions } from "./decoders/gptj.js";
export { attentionOf, feedForwardOf, Llama, LlamaLayer } from "./decoders/llama.js";
export type { LlamaConfig, LlamaExperts, LlamaModelType, LlamaOptions } from "./decoders/llama-options.js";
export { Olmo2, type Olmo2Config, Olmo2Layer, type Olmo2Options } from "./decoders/olmo2.js";
export { Phi, type PhiConfig, PhiLayer, type PhiOptions } from "./decoders/phi.js";
export { Phi3, type Phi3Config, Phi3Layer, type Phi3Options } from "./decoders/phi3.js";
export { RecurrentLM, type RecurrentLMConfig, type RecurrentLMOptions } from "./decoders/recurrent-lm.js";
export { Encoder, type EncoderFamily, type EncoderInputs } from "./encoder.js";
export { Bert, type BertConfig, type BertOptions } from "./encoders/bert.js";
export { ImageClassifier, type ImageClassifierOptions } from "./heads/image-classifier.js";
export { MaskedLM, type MaskedLMOptions } from "./heads/masked-lm.js";
export { SequenceClassifier, type SequenceClassifierOptions } from "./heads/sequence-classifier.js";
export {
  type AnyModel,
  defineModelKind,
  describeKind,
  type KindDescription,
  Model,
  type ModelInput,
  type ModelKind,
  type ModelKinds,
  modelKinds,
} from "./model.js";
export { ViT, type ViTConfig, type ViTOptions } from "./vision/vit.js";
export { VisionModel } from "./vision-model.js";
