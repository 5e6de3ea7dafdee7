/** Recipes to begin with. Each is whole but for the defaults in `recipe.ts`, and `further` for its model. */

import type { RecipeInput } from "./recipe.js";

/** What `npm start` trains: the most that a few minutes on two cores give. */
const pocket: RecipeInput = {
  data: { corpus: "moby-dick" },
  tokenizer: { model: "bpe", vocabSize: 2048 },
  model: {
    architecture: "llama",
    hiddenSize: 256,
    numHiddenLayers: 4,
    numAttentionHeads: 4,
    tieWordEmbeddings: true,
  },
  training: {
    ...{ steps: 600, batchSize: 16, context: 128, learningRate: 2e-3, weightDecay: 0.1 },
    ...{ validateEvery: 100, saveEvery: 100 },
  },
  samples: { prompts: ["Call me", "The whale"] },
};

/** The model that nanoGPT trains on a CPU (its README, "i only have a macbook"), here on another text. */
const nanogpt: RecipeInput = {
  data: { corpus: "moby-dick" },
  tokenizer: { model: "character" },
  model: { architecture: "gpt2", nEmbd: 128, nLayer: 4, nHead: 4, bias: false },
  training: {
    ...{ steps: 2000, batchSize: 12, context: 64, learningRate: 1e-3, minimumLearningRate: 1e-4 },
    ...{ weightDecay: 0.1, validateEvery: 250 },
  },
};

/** A model of 29 million parameters for an evening, or for a GPU. */
const small: RecipeInput = {
  data: { corpus: "state-of-the-union", validationShare: 0.02 },
  tokenizer: { model: "bpe", vocabSize: 6400 },
  model: {
    ...{ architecture: "llama", hiddenSize: 512, intermediateSize: 1408 },
    ...{ numHiddenLayers: 8, numAttentionHeads: 8, tieWordEmbeddings: true },
  },
  training: { steps: 3000, batchSize: 8, context: 512, learningRate: 1e-3 },
};

/** A model that is there already goes on learning, gently: the recipe names it. */
const further: RecipeInput = {
  data: { corpus: "moby-dick" },
  training: { steps: 300, batchSize: 8, context: 128, learningRate: 1e-4 },
};

export const presets = { pocket, nanogpt, small, further } as const;

export const presetNames = Object.keys(presets);
