/** The tiny decoders of reference/decoders.py: what transformers wrote and computed, with weights that follow from their names. */

import { readdirSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeSafetensors } from "../../checkpoint/safetensors.node.js";
import { decodeSafetensors } from "../../checkpoint/safetensors-format.js";
import type { Engine } from "../../engine/engine.js";
import { grad } from "../../graph/gradient.js";
import { elementCount, type HostArray, toNumbers } from "../../graph/host-array.js";
import type { Parameter } from "../../graph/variable.js";
import { compile } from "../../program/compile.js";
import { bool, int32 } from "../../program/signature.js";
import { checkpointVariables } from "../architectures.js";
import type { CausalLM } from "../causal-lm.js";
import type { HuggingFaceConfig } from "../configs/entries.js";

const folder = fileURLToPath(new URL("../../../reference/golden/", import.meta.url));

const casesIn = (name: string): readonly string[] =>
  readdirSync(join(folder, name))
    .filter((file) => file.endsWith(".safetensors"))
    .map((file) => file.slice(0, -".safetensors".length));

export const goldenDecoders = casesIn("decoders");
/** Of reference/models.py. */
export const goldenModels = casesIn("models");

/** Uniform in [−0.5, 0.5): FNV-1a of the name seeds MurmurHash3's finalizer of the index. */
export function formula(name: string, size: number): Float64Array {
  let seed = 2166136261;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 16777619);
  return Float64Array.from({ length: size }, (_, i) => {
    let x = (Math.imul(i, 2654435769) + seed) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32 - 0.5;
  });
}

/** The value of a parameter: uniform, for norms around 1. */
function formulaWeight(name: string, shape: readonly number[]): HostArray<"float32"> {
  const values = formula(name, elementCount(shape));
  const around = shape.length === 1 && name.endsWith("weight") ? 1 : 0;
  return { dtype: "float32", shape, data: Float32Array.from(values, (value) => value + around) };
}

/**
 * The largest difference between two lists of values, as a share of the largest value that is expected.
 *
 * @param floor the least that it is a share of: biases of keys have gradients that are nothing but rounding
 */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>, floor = 1e-3): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  const [right, left] = [Array.from(expected), Array.from(actual)];
  const scale = Math.max(...right.map(Math.abs), floor);
  return left.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (right[i] as number)) / scale), 0); // NaN stays
}

export interface GoldenDecoder {
  /** `config.json` as Python wrote it. */
  readonly config: HuggingFaceConfig;
  /** Shapes of the tensors in the file that Python wrote, by name. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Whether it is an architecture of transformers, and not one written anew. */
  readonly byTransformers: boolean;
  tensor(name: string): HostArray;
  readonly tensors: ReadonlyMap<string, HostArray>;
}

/** @param name of a golden file, such as `decoders/llama` */
export function goldenDecoder(name: string): GoldenDecoder {
  const { tensors } = decodeSafetensors(readFileSync(join(folder, `${name}.safetensors`)));
  const { saved, model } = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as {
    model: string;
    saved: { config: HuggingFaceConfig; tensors: Record<string, number[]> };
  };
  const tensor = (key: string): HostArray => {
    const found = tensors.get(key);
    if (!found) throw new Error(`${name}.safetensors has no ${key}`);
    return found;
  };
  return { config: saved.config, shapes: saved.tensors, byTransformers: model.startsWith("transformers"), tensor, tensors };
}

/** The directory as Python wrote it. */
export async function writeGoldenDirectory({ config, shapes }: GoldenDecoder, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "config.json"), JSON.stringify(config));
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const { data, ...rest } = formulaWeight(name, shape);
    return { name, ...rest, data: () => data };
  });
  await writeSafetensors(join(directory, "model.safetensors"), entries);
}

/**
 * What differs from Python's training step by more than 10⁻⁴ of the largest value: its loss (with experts, what balances them
 * included), and the gradient of each parameter, value by value.
 */
export async function differentGradients(model: CausalLM, golden: GoldenDecoder, engine: Engine): Promise<[string, number][]> {
  const variables = [...checkpointVariables(model)] as [string, Parameter][];
  await using program = compile(
    ({ ids, real, labels }) => {
      const loss = model.loss(ids, labels, { keys: real });
      const gradients = grad(
        loss,
        variables.map(([, variable]) => variable),
      );
      return { loss, ...Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient])) };
    },
    { ids: int32("batch", "seq"), real: bool("batch", "seq"), labels: int32("batch", "seq") },
    { engine, training: true, specialize: true },
  );
  const [ids, labels] = [golden.tensor("ids"), golden.tensor("labels")] as [HostArray<"int32">, HostArray<"int32">];
  const results = (await program({ ids, labels, real: golden.tensor("real") as HostArray<"bool"> })) as unknown as Record<
    string,
    HostArray
  >;
  const difference = (name: string, expected: HostArray): number =>
    relativeDifference(toNumbers(results[name] as HostArray), toNumbers(expected));
  const all: [string, number][] = [
    ["loss", difference("loss", golden.tensors.get("trainingLoss") ?? golden.tensor("loss"))],
    ...variables.map(([key], i): [string, number] => [key, difference(`gradient${i}`, golden.tensor(`gradient.${key}`))]),
  ];
  return all.filter(([, value]) => !(value < 1e-4));
}
