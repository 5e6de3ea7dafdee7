/**
 * A debugging aid: one graph on two engines, every value of it compared. Names the first values, in the order of
 * computation, on which the engines disagree.
 */

import { formatShape, sameShape } from "../graph/dim.js";
import { isFloat } from "../graph/dtype.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import { type HostArray, toNumbers } from "../graph/host-array.js";
import { cast } from "../graph/ops/cast.js";
import type { Node, Tensor } from "../graph/tensor.js";
import type { Engine, EngineBuffer } from "./engine.js";
import { modelSource } from "./model-source.js";

export interface CompareOptions {
  /** How far values may be apart, relative to the largest of the same tensor or 1. Integers must agree. Default 1e-4. */
  readonly tolerance?: number;
}

/** A value on which two engines disagree. */
export interface Disagreement {
  /** Its name among the graph's outputs, or what made it, e.g. `matmul float32[2, 3]`. */
  readonly value: string;
  /** The operator that made it. */
  readonly operator: string;
  /** Path of the module in which it was made, e.g. `layers.3.mlp`; empty at the root. */
  readonly module: string;
  /** Largest difference of an element; infinite where shapes or element types differ, or one of two is not a number. */
  readonly maxDifference: number;
  /** In words: the element that differs most, and what each engine has there. */
  readonly detail: string;
}

export interface Comparison {
  /** How many values were compared. */
  readonly compared: number;
  /** Values that differ although everything they are computed from agrees, in the order of computation: where it begins. */
  readonly origins: readonly Disagreement[];
  /** All values that differ, in the order of computation. */
  readonly disagreements: readonly Disagreement[];
}

/**
 * Runs a graph on two engines with every intermediate value as an output, each engine with its own passes and lowerings.
 * When the results differ although no value does once all are outputs, an engine is wrong where it computes several nodes as
 * one: then the values on the way back from a wrong result are asked for one at a time.
 *
 * @param inputs data for every input of the graph, by name
 */
export async function compareEngines(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  engineA: Engine,
  engineB: Engine,
  { tolerance = 1e-4 }: CompareOptions = {},
): Promise<Comparison> {
  const names = new Map([...graph.outputs].map(([name, tensor]) => [tensor, name]));
  const compare = (values: readonly Tensor[]) => compareValues(graph, values, inputs, [engineA, engineB], tolerance, names);
  const values = nodesOf(graph.outputs.values())
    .filter(({ op }) => !op.leaf)
    .flatMap(({ outputs }) => outputs);

  const whole = await compare(values);
  if (whole.size > 0) {
    const disagrees = (tensor: Tensor) => whole.has(tensor);
    const origins = [...whole].filter(([tensor]) => !tensor.node.inputs.some(disagrees));
    return { compared: values.length, origins: origins.map(([, found]) => found), disagreements: [...whole.values()] };
  }
  const results = await compare([...new Set(graph.outputs.values())].filter(({ node }) => !node.op.leaf));
  const [wrong] = results;
  if (!wrong) return { compared: values.length, origins: [], disagreements: [] };
  const origin = await firstWrong(wrong, async (tensor) => (await compare([tensor])).get(tensor));
  return { compared: values.length, origins: [origin], disagreements: [...results.values()] };
}

/** Goes from a wrong value to one that is computed from values that are right when they alone are asked for. */
async function firstWrong(
  [wrong, found]: readonly [Tensor, Disagreement],
  probe: (tensor: Tensor) => Promise<Disagreement | undefined>,
): Promise<Disagreement> {
  for (const operand of wrong.node.inputs) {
    if (operand.node.op.leaf) continue;
    const earlier = await probe(operand);
    if (earlier) return firstWrong([operand, earlier], probe);
  }
  return found;
}

async function compareValues(
  graph: Graph,
  values: readonly Tensor[],
  inputs: ReadonlyMap<string, HostArray>,
  engines: readonly [Engine, Engine],
  tolerance: number,
  names: ReadonlyMap<Tensor, string>,
): Promise<Map<Tensor, Disagreement>> {
  const outputs = new Map(values.map((tensor, i) => [`value:${i}`, readable(tensor)]));
  const [a, b] = engines;
  const runA = await runGraph(a, { inputs: graph.inputs, outputs }, inputs);
  try {
    const runB = await runGraph(b, { inputs: graph.inputs, outputs }, inputs);
    try {
      const found = new Map<Tensor, Disagreement>();
      for (const [i, tensor] of values.entries()) {
        const difference = differenceOf(await runA.read(`value:${i}`), await runB.read(`value:${i}`), tolerance, engines);
        if (difference) found.set(tensor, { ...describeValue(tensor, names), ...difference });
      }
      return found;
    } finally {
      await runB.release();
    }
  } finally {
    await runA.release();
  }
}

/** Engines do not give bfloat16 values out. */
const readable = (tensor: Tensor): Tensor => (tensor.dtype === "bfloat16" ? cast(tensor, "float32") : tensor);

function describeValue(tensor: Tensor, names: ReadonlyMap<Tensor, string>): Omit<Disagreement, "maxDifference" | "detail"> {
  const { op, scope }: Node = tensor.node;
  return { value: names.get(tensor) ?? tensor.describe(), operator: op.name, module: scope };
}

async function runGraph(engine: Engine, graph: Graph, inputs: ReadonlyMap<string, HostArray>) {
  const model = await engine.load(modelSource(engine, graph));
  const buffers = new Map<string, EngineBuffer>();
  try {
    for (const [name, array] of inputs) if (graph.inputs.has(name)) buffers.set(name, await engine.upload(array));
    const produced = await model.run(buffers, new Map([...graph.outputs.keys()].map((name) => [name, undefined])));
    return {
      read: (name: string) => engine.read(produced.get(name) as EngineBuffer),
      async release() {
        for (const buffer of produced.values()) await engine.release(buffer);
      },
    };
  } finally {
    for (const buffer of buffers.values()) await engine.release(buffer);
    await model.release();
  }
}

function differenceOf(
  a: HostArray,
  b: HostArray,
  tolerance: number,
  engines: readonly [Engine, Engine],
): Pick<Disagreement, "maxDifference" | "detail"> | undefined {
  const [nameA, nameB] = engines.map(({ name, device }) => `${name} (${device})`);
  if (a.dtype !== b.dtype || !sameShape(a.shape, b.shape))
    return {
      maxDifference: Number.POSITIVE_INFINITY,
      detail: `${nameA} has ${a.dtype}${formatShape(a.shape)}, ${nameB} has ${b.dtype}${formatShape(b.shape)}`,
    };
  const [valuesA, valuesB] = [toNumbers(a), toNumbers(b)];
  let scale = 1;
  for (const value of valuesB) if (Number.isFinite(value)) scale = Math.max(scale, Math.abs(value));
  const allowed = isFloat(a.dtype) ? tolerance * scale : 0;
  let worst = 0;
  let at = -1;
  for (const [i, value] of valuesA.entries()) {
    const other = valuesB[i] as number;
    if (Object.is(value, other)) continue; // also NaN and infinities
    const distance = Math.abs(value - other);
    const difference = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance;
    if (difference > worst) [worst, at] = [difference, i];
  }
  if (worst <= allowed) return undefined;
  return {
    maxDifference: worst,
    detail: `element ${at} of ${formatShape(a.shape)} is ${valuesA[at]} on ${nameA}, ${valuesB[at]} on ${nameB}`,
  };
}

/** A comparison as text: one line for each value at which a disagreement begins. */
export function describeComparison({ compared, origins, disagreements }: Comparison): string {
  if (disagreements.length === 0) return `All ${compared} values agree.`;
  const lines = origins.map(
    ({ value, module, maxDifference, detail }) =>
      `  ${value}${module ? ` in ${module}` : ""}: differs by ${maxDifference.toPrecision(3)}; ${detail}`,
  );
  return [`${disagreements.length} of ${compared} values differ, beginning with:`, ...lines].join("\n");
}
