/** Values of an engine compared with those of the reference. */

import type { Engine, EngineBuffer } from "../../engine/engine.js";
import { modelSource } from "../../engine/model-source.js";
import { evaluate } from "../../engine/reference/interpret.js";
import { formatShape, sameShape } from "../dim.js";
import { isFloat } from "../dtype.js";
import type { Graph } from "../graph.js";
import { type HostArray, toNumbers } from "../host-array.js";
import type { OpDefinition } from "../op.js";
import { casesOf, concreteExample, type OpCase } from "./cases.js";
import { drawInputs, gradientGraph, sizeInputs } from "./op-graph.js";

export interface LoadedGraph {
  run(inputs: ReadonlyMap<string, HostArray>): Promise<ReadonlyMap<string, HostArray>>;
  release(): Promise<void>;
}

/** How a test gives a graph to an engine. */
export type GraphLoader = (graph: Graph) => Promise<LoadedGraph>;

/** The first difference between two arrays, in words; `undefined` when they agree. */
export function difference(actual: HostArray, expected: HostArray, tolerance: number): string | undefined {
  if (actual.dtype !== expected.dtype) return `the dtype is ${actual.dtype}, not ${expected.dtype}`;
  if (!sameShape(actual.shape, expected.shape))
    return `the shape is ${formatShape(actual.shape)}, not ${formatShape(expected.shape)}`;
  const a = toNumbers(actual);
  const b = toNumbers(expected);
  // Rounding errors of a sum are as large as its terms, so the scale is that of the whole array.
  const scale = b.reduce((largest, value) => (Number.isFinite(value) ? Math.max(largest, Math.abs(value)) : largest), 1);
  const allowed = isFloat(expected.dtype) ? tolerance * scale : 0;
  const at = a.findIndex((value, i) => !Object.is(value, b[i]) && !(Math.abs(value - (b[i] as number)) <= allowed));
  return at < 0 ? undefined : `element ${at} of ${formatShape(actual.shape)} is ${a[at]}, not ${b[at]}`;
}

export interface CompareOptions {
  /** Cases that the engine is known not to take. */
  readonly skip?: (testCase: OpCase) => boolean;
  /** Cases that the engine is known to take with concrete sizes alone. */
  readonly skipSymbolic?: (testCase: OpCase) => boolean;
}

/**
 * Runs every case of an operator, forward and backward, on an engine and in the reference: each example as one graph with
 * symbolic sizes that serves all of its cases, and with static sizes. Returns what disagrees, in words.
 */
export async function compareWithReference(
  load: GraphLoader,
  definition: OpDefinition,
  { skip = () => false, skipSymbolic = () => false }: CompareOptions = {},
): Promise<readonly string[]> {
  const problems: string[] = [];
  const attempt = async (label: string, task: () => Promise<void>): Promise<void> => {
    try {
      await task();
    } catch (error) {
      problems.push(`${label}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const compare = async (label: string, testCase: OpCase, graph: Graph, loaded: LoadedGraph): Promise<void> => {
    const inputs = new Map([...drawInputs(testCase, gradientGraph(testCase)), ...sizeInputs(testCase, graph)]);
    const expected = evaluate(graph, inputs);
    await attempt(label, async () => {
      const actual = await loaded.run(inputs);
      const { tolerance = 1e-5 } = concreteExample(testCase);
      for (const [name, array] of expected) {
        const found = difference(actual.get(name) as HostArray, array, tolerance);
        if (found) problems.push(`${label} ${name}: ${found}`);
      }
    });
  };
  const withLoaded = (label: string, graph: Graph, use: (loaded: LoadedGraph) => Promise<void>): Promise<void> =>
    attempt(label, async () => {
      const loaded = await load(graph);
      try {
        await use(loaded);
      } finally {
        await loaded.release();
      }
    });

  const cases = casesOf(definition).filter((testCase) => !skip(testCase));
  for (const [index, group] of groupByExample(cases)) {
    const symbolicCases = group.filter((testCase) => !skipSymbolic(testCase));
    const symbolic = gradientGraph(group[0] as OpCase, { symbolic: true });
    if (symbolicCases.length > 0)
      await withLoaded(`${definition.name} #${index} symbolic`, symbolic, async (loaded) => {
        for (const testCase of symbolicCases) await compare(`${testCase.label} symbolic`, testCase, symbolic, loaded);
      });
    for (const testCase of group.filter(({ kind }) => kind === "typical" || kind === "ones")) {
      const graph = gradientGraph(testCase);
      await withLoaded(testCase.label, graph, (loaded) => compare(testCase.label, testCase, graph, loaded));
    }
  }
  return problems;
}

export function groupByExample(cases: readonly OpCase[]): ReadonlyMap<number, readonly OpCase[]> {
  const groups = new Map<number, OpCase[]>();
  for (const testCase of cases) groups.set(testCase.index, [...(groups.get(testCase.index) ?? []), testCase]);
  return groups;
}

/** Gives graphs to an engine as programs do: its passes and lowerings applied, buffers uploaded and read back. */
export const loaderFor =
  (engine: Engine): GraphLoader =>
  async (graph) => {
    const model = await engine.load(modelSource(engine, graph));
    return {
      async run(inputs) {
        const buffers = new Map<string, EngineBuffer>();
        for (const [name, array] of inputs) buffers.set(name, await engine.upload(array));
        const results = await model.run(buffers, new Map([...graph.outputs.keys()].map((name) => [name, undefined])));
        const arrays = new Map<string, HostArray>();
        for (const [name, buffer] of results) arrays.set(name, await engine.read(buffer));
        for (const buffer of [...buffers.values(), ...results.values()]) await engine.release(buffer);
        return arrays;
      },
      release: () => model.release(),
    };
  };
