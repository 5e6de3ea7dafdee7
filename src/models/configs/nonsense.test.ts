import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { TsumikiError } from "../../errors.js";
import { compile, int32 } from "../../program/index.js";
import { modelFromConfig } from "../architectures.js";
import type { CausalLM } from "../causal-lm.js";
import { goldenDecoder, goldenDecoders } from "../testing/golden-decoder.js";
import type { HuggingFaceConfig } from "./entries.js";

const engine = await onnxRuntimeNode({ threads: 1 });

/** Values that make no sense in place of another, and values that may or may not, as the other entries are. */
function replacements(value: unknown): { readonly nonsense: readonly unknown[]; readonly doubtful: readonly unknown[] } {
  if (typeof value === "number") return { nonsense: ["many", -3, [2], true], doubtful: [0, 0.3, 1, 3, 5, 7] };
  if (typeof value === "boolean") return { nonsense: ["perhaps", 3, []], doubtful: [!value] };
  if (typeof value === "string") return { nonsense: ["nonsense", 3, ""], doubtful: [] };
  if (Array.isArray(value))
    return { nonsense: ["nonsense", ["nonsense"], [-1, -1, -1, -1], [[]]], doubtful: [[], value.slice(1)] };
  if (typeof value === "object" && value !== null) return { nonsense: ["nonsense", 3], doubtful: [] };
  return { nonsense: ["nonsense"], doubtful: [0, 1, 3] };
}

interface Mutation {
  readonly config: HuggingFaceConfig;
  /** `rope_scaling.factor` */
  readonly path: string;
  readonly value: unknown;
  /** Whether it must be refused. */
  readonly nonsense: boolean;
}

/** The configuration with one entry replaced, of those that are `known` by their paths; entries inside of others too. */
function* mutations(config: HuggingFaceConfig, known: ReadonlySet<string>, above = ""): Generator<Mutation> {
  for (const [key, value] of Object.entries(config)) {
    const path = above + key;
    if (!known.has(path)) continue;
    const { nonsense, doubtful } = replacements(value);
    for (const other of nonsense) yield { config: { ...config, [key]: other }, path, value: other, nonsense: true };
    for (const other of doubtful) yield { config: { ...config, [key]: other }, path, value: other, nonsense: false };
    if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
    for (const inside of mutations(value as HuggingFaceConfig, known, `${path}.`))
      yield { ...inside, config: { ...config, [key]: inside.config } };
  }
}

/** The paths of the entries that are looked at when a configuration is read. */
function knownEntries(config: HuggingFaceConfig): Set<string> {
  const seen = new Set<string>();
  const watched = (entries: object, above: string): object =>
    new Proxy(entries, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key);
        if (typeof key !== "string") return value;
        seen.add(above + key);
        return typeof value === "object" && value !== null && !Array.isArray(value) ? watched(value, `${above}${key}.`) : value;
      },
    });
  modelFromConfig(watched(config, ""), undefined, "causal-lm");
  return seen;
}

/** Builds what a model computes in training. */
const trace = (model: CausalLM) =>
  compile(
    ({ ids }) => ({ loss: model.loss(ids, ids) }),
    { ids: int32(2, Math.min(12, model.contextLength)) },
    { engine, training: true },
  );

const camel = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

const recurrent = {
  model_type: "recurrent_lm",
  vocab_size: 7,
  cell: "lstm",
  embedding_size: 4,
  hidden_size: 4,
  layers: 1,
  dropout: 0,
  context_length: 9,
};

describe.each([
  ...goldenDecoders.map((name) => [name, goldenDecoder(`decoders/${name}`).config] as const),
  ["recurrent", recurrent] as const,
])("the configuration of %s", (_, config) => {
  it("is refused when it is read, with the name of the entry, or describes a model that computes", () => {
    const known = knownEntries(config);
    known.delete("architectures"); // chooses among the kinds of a model_type; a class that is not known says nothing
    expect(known.size).toBeGreaterThan(6);
    const wrong: string[] = [];
    for (const { config: changed, path, value, nonsense } of mutations(config, known)) {
      const what = `${path}: ${JSON.stringify(value)}`;
      let model: CausalLM | undefined;
      try {
        model = modelFromConfig(changed, undefined, "causal-lm");
      } catch (error) {
        const name = path.split(".").at(-1) as string;
        const message = (error as Error).message;
        if (!(error instanceof TsumikiError && error.code === "CONFIG")) wrong.push(`${what} fails with ${error}`);
        else if (!message.includes(name) && !message.includes(camel(name))) wrong.push(`${what} is not named: ${message}`);
        continue;
      }
      if (nonsense) wrong.push(`${what} is taken`);
      else
        try {
          trace(model);
        } catch (error) {
          wrong.push(`${what} fails late: ${error}`);
        }
    }
    expect(wrong).toEqual([]);
  });
});
