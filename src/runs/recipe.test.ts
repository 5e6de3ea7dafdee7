import { describe, expect, it } from "vitest";
import { parseRecipe, type RecipeInput, savedRecipeSchema } from "./recipe.js";
import { describeChange, recipeChanges } from "./recipe-changes.js";
import { presetNames } from "./recipe-presets.js";

/** The lines of the error, heading and indentation aside. */
function problems(...inputs: unknown[]): string[] {
  try {
    parseRecipe({ preset: "pocket" }, ...(inputs as RecipeInput[]));
  } catch (error) {
    expect(error).toMatchObject({ code: "CONFIG" });
    const [heading, ...lines] = (error as Error).message.split("\n");
    expect(heading).toBe("The recipe cannot be followed:");
    return lines.map((line) => line.trim());
  }
  throw new Error("nothing was wrong");
}

describe("parseRecipe", () => {
  it.each(presetNames)("completes the preset %s, and reads what it has written", (preset) => {
    const model = { architecture: "saved", source: "runs/start" } as const;
    const recipe = parseRecipe({ preset, ...(preset === "further" ? { model } : {}) });
    expect(recipe).toMatchObject({
      training: { accumulation: 1, clipNorm: 1, seed: 0 },
      engine: { name: "auto", device: "auto", precision: "auto" },
    });
    expect(savedRecipeSchema.parse(JSON.parse(JSON.stringify(recipe)))).toEqual(recipe);
  });

  it("lays later inputs over earlier ones, key by key", () => {
    const recipe = parseRecipe(
      { preset: "pocket", training: { steps: 50, learningRate: 1e-2 }, data: { validationShare: 0.2 } },
      { training: { steps: 60 }, data: { files: ["a.txt"] } },
    );
    expect(recipe.training).toMatchObject({ steps: 60, learningRate: 1e-2, warmupSteps: 3 });
    expect(recipe.data).toEqual({ files: ["a.txt"], validationShare: 0.2 });
  });

  it("does not mix the options of two architectures, tokenizers or sources", () => {
    const model = { architecture: "gpt2", nEmbd: 8, nLayer: 1, nHead: 2 } as const;
    const recipe = parseRecipe({ preset: "pocket", model, tokenizer: { model: "character" }, training: { context: 32 } });
    expect(recipe.model).toEqual({ ...model, nPositions: 32 });
    expect(recipe.tokenizer).toEqual({ model: "character" });
    expect(
      parseRecipe({ preset: "pocket", data: { files: ["a.txt"] } }, { data: { corpus: "state-of-the-union" } }).data,
    ).toEqual({
      corpus: "state-of-the-union",
      validationShare: 0.1,
    });
  });

  it("knows a tokenizer by the name of a well-known one, which has a model and a size", () => {
    const tokenizer = (...inputs: readonly RecipeInput["tokenizer"][]) =>
      parseRecipe({ preset: "nanogpt" }, ...inputs.map((given) => ({ tokenizer: given as object }))).tokenizer;
    expect(tokenizer({ preset: "minimind" })).toEqual({ model: "bpe", preset: "minimind", vocabSize: 6400 });
    expect(tokenizer({ preset: "bert", vocabSize: 900 })).toEqual({ model: "wordpiece", preset: "bert", vocabSize: 900 });
    // A size that was asked for stays where another model of subwords is chosen.
    expect(tokenizer({ model: "bpe", vocabSize: 500 }, { preset: "t5" })).toEqual({
      model: "unigram",
      preset: "t5",
      vocabSize: 500,
    });
    expect(tokenizer({ preset: "qwen" }, { model: "saved", folder: "a" })).toEqual({ model: "saved", folder: "a" });
  });

  it("names the key, what was given and what is expected, for all mistakes at once", () => {
    expect(
      problems({
        data: { corpus: "bible" },
        tokenizer: { vocabSize: 1 },
        training: { steps: 0, learningRate: "fast", stepz: 3, seed: 1.5 },
        engine: { threads: Number.NaN },
      }),
    ).toEqual([
      'data.corpus: "bible" was given, expected the name of a corpus, such as "moby-dick" (tsumiki data list)',
      "tokenizer.vocabSize: 1 was given, expected a whole number of at least 2",
      "training.steps: 0 was given, expected a whole number of at least 1",
      'training.learningRate: "fast" was given, expected a number above 0',
      "training.seed: 1.5 was given, expected a whole number of at least 0",
      expect.stringMatching(
        /^training\.stepz: there is no such key; there are steps, batchSize, .*saveEvery, validationBatches$/,
      ),
      "engine.threads: NaN was given, expected a whole number of at least 1",
    ]);
  });

  it.each([
    [{ tokenizer: { vocabSize: 0 } }, "tokenizer.vocabSize: 0 was given, expected a whole number of at least 2"],
    [
      { tokenizer: { model: "words" } },
      'tokenizer.model: "words" was given, expected "bpe" or "wordpiece" or "unigram" or "character" or "saved"',
    ],
    [{ tokenizer: { model: "saved" } }, "tokenizer.folder: nothing was given, expected a text"],
    [
      { tokenizer: { model: "unigram", preset: "gpt2" } },
      'tokenizer.preset: "gpt2" was given, expected "t5" for the model unigram',
    ],
    [
      { tokenizer: { preset: "gpt5" } },
      'tokenizer.preset: "gpt5" was given, expected "gpt2" or "llama3" or "qwen" or "bert" or "t5" or "minimind"',
    ],
    [
      { preset: "nanogpt", tokenizer: { model: "unigram" } },
      "tokenizer.vocabSize: nothing was given, expected a whole number of at least 2",
    ],
    [{ engine: { precision: "fp8" } }, 'engine.precision: "fp8" was given, expected "fp32" or "bf16" or "auto"'],
    [
      { model: { architecture: "rnn" } },
      'model.architecture: "rnn" was given, expected "gpt2" or "llama" or "config" or "saved"',
    ],
    [{ model: { architecture: "config" } }, "model.config: nothing was given, expected the object of a config.json"],
    [
      { model: { architecture: "config", config: {} }, training: { dropout: 0.1 } },
      "training.dropout: 0.1 was given, expected 0 or left out: the config says what is dropped",
    ],
    [{ model: { architecture: "gpt2" } }, "model.nEmbd: nothing was given, expected a whole number from 1 to 1000000"],
    [{ training: 5 }, "training: 5 was given, expected an object"],
    [{ preset: "huge" }, 'preset: "huge" was given, expected "pocket" or "nanogpt" or "small" or "further"'],
    [{ data: { files: [] } }, "data.files: [] was given, expected a list of at least one path"],
    [{ data: { validationShare: 1 } }, "data.validationShare: 1 was given, expected a number of at least 0, below 1"],
    [
      { training: { context: 128 }, model: { maxPositionEmbeddings: 64 } },
      "model.maxPositionEmbeddings: 64 was given, expected at least training.context, which is 128",
    ],
    [
      { training: { dropout: 0.1 } },
      "training.dropout: 0.1 was given, expected 0 or left out, since the llama architecture has no dropout",
    ],
    [{ training: { zLoss: -1e-4 } }, "objective.zLoss: -0.0001 was given, expected a number of at least 0"],
    [
      { training: { steps: 5, warmupSteps: 6 } },
      "training.warmupSteps: 6 was given, expected at most training.steps, which is 5",
    ],
    [
      { training: { learningRate: 1e-3, minimumLearningRate: 1 } },
      "training.minimumLearningRate: 1 was given, expected at most training.learningRate, which is 0.001",
    ],
  ])("refuses %j", (input, problem) => expect(problems(input)).toContain(problem));

  it("takes a saved model's tokenizer, unless another one is named beside it", () => {
    const saved = { architecture: "saved", source: "runs/start" } as const;
    const own = { model: "saved", folder: "runs/start" };
    expect(parseRecipe({ preset: "further", model: saved })).toMatchObject({ model: saved, tokenizer: own });
    expect(parseRecipe({ preset: "pocket" }, { model: saved }).tokenizer).toEqual(own);
    const other = { model: "saved", folder: "other" } as const;
    expect(parseRecipe({ preset: "pocket" }, { model: saved, tokenizer: other }).tokenizer).toEqual(other);
    expect(parseRecipe({ preset: "further", model: saved, tokenizer: other }, { training: { steps: 5 } }).tokenizer).toEqual(
      other,
    );
    expect(problems({ preset: "further", model: { architecture: "config", config: {} } })).toContain(
      "tokenizer: nothing was given, expected an object",
    );
  });

  it("keeps no prompts that were made for another text", () => {
    const below: RecipeInput = { preset: "pocket", samples: { prompts: ["Call me"], topK: 5 } };
    expect(parseRecipe(below, { data: { validationShare: 0.2 } }).samples.prompts).toEqual(["Call me"]);
    const other = parseRecipe(below, { data: { files: ["poems.txt"] } });
    expect(other.samples).toEqual({ topK: 5, maxTokens: 60, temperature: 0.8 });
  });

  it("says that a preset can give what is missing", () => {
    const incomplete = () => parseRecipe({ data: { corpus: "moby-dick" } });
    expect(incomplete).toThrow(/model: nothing was given, expected an object[\s\S]*a preset gives what is left out: "pocket"/);
  });

  it("asks for a corpus or files, not both", () => {
    expect(problems({ data: { corpus: "moby-dick", files: ["a.txt"] } })[0]).toMatch(
      /^data: .* expected either a corpus or files$/,
    );
  });

  it("says which keys there are", () => {
    expect(problems({ model: { nLayer: 2 } })[0]).toMatch(
      /^model\.nLayer: there is no such key; there are architecture, hiddenSize/,
    );
    expect(problems({ steps: 2 })[0]).toMatch(
      /^steps: there is no such key; there are preset, version, objective, companions, tuning, data, tokenizer, model/,
    );
  });
});

describe("recipeChanges", () => {
  const recipe = (training: RecipeInput["training"], more: RecipeInput = {}) =>
    parseRecipe({ preset: "pocket", training: training ?? {}, ...more });

  it("finds what is another value, added or gone, and tells what changes the training from what does not", () => {
    const before = recipe({ steps: 100, saveEvery: 10 });
    const after = recipe(
      { steps: 100, saveEvery: 20, learningRate: 5e-4, minimumLearningRate: before.training.minimumLearningRate },
      { samples: { prompts: ["Ahab"] }, engine: { threads: 1 } },
    );
    expect(recipeChanges(before, after).map((change) => [describeChange(change), change.harmless])).toEqual([
      [`training.learningRate: ${before.training.learningRate} → 0.0005`, false],
      ["training.saveEvery: 10 → 20", true],
      [`samples.prompts: ${JSON.stringify(before.samples.prompts)} → ["Ahab"]`, true],
      ["engine.threads: not given → 1", true],
    ]);
    expect(recipeChanges(before, before)).toEqual([]);
  });
});
