import { expect, it } from "vitest";
import type { HuggingFaceConfig } from "../models/architectures.js";
import { type MetadataEntry, metadataReader } from "./metadata.js";
import { ggufRope, ropeScalingOf } from "./rope.js";

const config = { hidden_size: 4096, num_attention_heads: 32, rope_theta: 500_000, max_position_embeddings: 131_072 };
const small = { ...config, hidden_size: 64, num_attention_heads: 8 };
const llama31 = {
  ...{ rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 },
};
const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32_768 };
const longrope = {
  ...{ rope_type: "longrope", factor: 4, original_max_position_embeddings: 32_768, attention_factor: 1.25 },
  ...{ short_factor: [1, 1, 1, 2], long_factor: [1, 2, 3, 4] },
};

/** What is read from a file with these entries and tables, numbers as float32. */
function read(
  sizes: HuggingFaceConfig,
  entries: Readonly<Record<string, MetadataEntry>>,
  tables: Readonly<Record<string, Float32Array>>,
) {
  const values = Object.entries(entries).map(([key, { value }]) => [key, typeof value === "number" ? Math.fround(value) : value]);
  return ropeScalingOf(
    metadataReader(Object.fromEntries(values), "", "a.gguf"),
    new Map(Object.entries(tables)),
    sizes,
    "a.gguf",
  );
}
const text = (value: string): MetadataEntry => ({ type: 8, value });
const number = (value: number): MetadataEntry => ({ type: 6, value });

it.each<[string, string, HuggingFaceConfig, HuggingFaceConfig]>([
  ["Llama 3.1's formula", "llama", config, llama31],
  ["Llama 3.2's formula", "llama", { ...config, hidden_size: 2048 }, { ...llama31, factor: 32 }],
  ["a linear factor", "qwen2", config, { rope_type: "linear", factor: 2.5 }],
  ["YaRN", "llama", config, yarn],
  ["YaRN with a factor of its own on attention", "qwen3", config, { ...yarn, attention_factor: 0.75 }],
  ["LongRoPE", "llama", small, longrope],
  ["LongRoPE of a part of the features", "phi3", { ...small, hidden_size: 128, partial_rotary_factor: 0.5 }, longrope],
  [
    "one table",
    "llama",
    small,
    { ...longrope, factor: 1, attention_factor: 1, short_factor: [1, 2, 3, 4], original_max_position_embeddings: 131_072 },
  ],
])("%s comes back", (_, architecture, sizes, scaling) => {
  const { entries, tables } = ggufRope({ ...sizes, rope_scaling: scaling }, architecture);
  const back = read(sizes, entries, tables);
  expect(Object.keys(back ?? {}).sort()).toEqual(Object.keys(scaling).sort());
  for (const [key, value] of Object.entries(scaling))
    expect(back?.[key]).toEqual(key === "attention_factor" ? expect.closeTo(value as number, 6) : value);
});

it.each([
  ["of any other kind", Float32Array.of(1, 1.5, 2, 7)],
  ["with too few entries for the formula", Float32Array.of(1, 1, 3, 8)],
])("a table %s stays one, and comes back as it was", (_, factors) => {
  const scaling = read(small, {}, { "rope_freqs.weight": factors });
  expect(scaling).toMatchObject({ rope_type: "longrope", attention_factor: 1, short_factor: [...factors] });
  expect(ggufRope({ ...small, rope_scaling: scaling }, "llama").tables).toEqual({ "rope_freqs.weight": factors });
});

it("what llama.cpp has no place for is refused", () => {
  const refused = (scaling: object, architecture: string) => () => ggufRope({ ...config, rope_scaling: scaling }, architecture);
  expect(refused(llama31, "qwen2")).toThrow(/scaled as llama3 cannot be written.*qwen2/);
  expect(refused(longrope, "qwen3")).toThrow(/scaled as longrope cannot be written.*qwen3/);
  expect(refused({ rope_type: "dynamic", factor: 2 }, "llama")).toThrow(/scaled as dynamic cannot be written/);
  for (const bounds of [{ truncate: false }, { beta_fast: 16 }, { beta_slow: 2 }])
    expect(refused({ ...yarn, ...bounds }, "llama")).toThrow(/scaled as yarn with other bounds than .* cannot be written/);
});

it("what a file says otherwise is refused, or nothing where it says nothing", () => {
  const table = { "rope_freqs.weight": Float32Array.of(1, 2, 3, 8) };
  expect(read(small, {}, {})).toBeUndefined();
  expect(read(small, { "rope.scaling.factor": number(1) }, { "rope_freqs.weight": Float32Array.of(1, 1, 1, 1) })).toBeUndefined();
  expect(read(small, { "rope.scaling.type": text("none"), "rope.scaling.factor": number(4) }, {})).toBeUndefined();
  expect(() => read(small, { "rope.scaling.type": text("ntk") }, {})).toThrow(/as "ntk"; known are none, linear, yarn/);
  expect(() => read(small, { "rope.scaling.factor": number(4) }, table)).toThrow(/"linear" by 4 with rope_freqs\.weight/);
  expect(() => read(small, { "rope.scaling.type": text("longrope") }, {})).toThrow(
    /as "longrope"; known are .*longrope \(with its tables\)/,
  );
  expect(() => read(config, {}, table)).toThrow(/has 4 divisors, but heads have 64 rotated pairs/);
  const yarnEntries = ggufRope({ ...small, rope_scaling: yarn }, "llama").entries;
  for (const name of ["yarn_log_multiplier", "yarn_beta_fast"])
    expect(() => read(small, { ...yarnEntries, [`rope.scaling.${name}`]: number(2) }, {})).toThrow(
      new RegExp(`YaRN with ${name} 2, which is not known here`),
    );
});
