import { expect, it } from "vitest";
import { frequencyFactors, scalingOfFactors } from "./rope.js";

const config = { hidden_size: 4096, num_attention_heads: 32, rope_theta: 500_000, max_position_embeddings: 131_072 };
const llama31 = {
  ...{ rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 },
};

it.each([
  ["Llama 3.1's formula", config, llama31],
  ["Llama 3.2's formula", { ...config, hidden_size: 2048 }, { ...llama31, factor: 32 }],
  ["a linear factor", config, { rope_type: "linear", factor: 2.5 }],
])("%s comes back from its table", (_, sizes, scaling) => {
  const factors = frequencyFactors({ ...sizes, rope_scaling: scaling }, "llama") as Float32Array;
  expect(scalingOfFactors(factors, sizes)).toEqual(scaling);
});

it.each([
  ["of any other kind", Float32Array.of(1, 1.5, 2, 7)],
  ["with too few entries for the formula", Float32Array.of(1, 1, 3, 8)],
])("a table %s stays one, and comes back as it was", (_, factors) => {
  const sizes = { ...config, hidden_size: 64, num_attention_heads: 8 };
  const scaling = scalingOfFactors(factors, sizes);
  expect(scaling).toMatchObject({ rope_type: "longrope", attention_factor: 1, short_factor: [...factors] });
  expect(frequencyFactors({ ...sizes, rope_scaling: scaling }, "llama")).toEqual(factors);
});

it("what llama.cpp has no place for is refused", () => {
  const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 1024 };
  expect(() => frequencyFactors({ ...config, rope_scaling: yarn }, "llama")).toThrow(/scaled as yarn cannot be written/);
  expect(() => frequencyFactors({ ...config, rope_scaling: llama31 }, "qwen2")).toThrow(/llama3 cannot be written.*qwen2/);
});
