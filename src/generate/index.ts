/** Text from a model. */

export { type GenerateOptions, generate, generateTokens } from "./generate.js";
export { createSampler, type Sampler, type SamplingOptions } from "./sampler.js";
