/** Small graphs and the ways to run them, for the tests of engines. */

import { symbol } from "../../graph/dim.js";
import type { Graph } from "../../graph/graph.js";
import type { HostArray } from "../../graph/host-array.js";
import { input } from "../../graph/leaves.js";
import { add, matmul } from "../../graph/ops/index.js";
import type { Tensor } from "../../graph/tensor.js";
import type { Engine } from "../engine.js";
import { modelSource } from "../model-source.js";

/** A graph from what goes in and what comes out. */
export const graphOf = (inputs: Readonly<Record<string, Tensor>>, outputs: Readonly<Record<string, Tensor>>): Graph => ({
  inputs: new Map(Object.entries(inputs)),
  outputs: new Map(Object.entries(outputs)),
});

/** sum [rows, 3] = x [rows, 3] + y [3] */
export function sumGraph(): Graph {
  const x = input("x", "float32", [symbol("rows"), 3]);
  const y = input("y", "float32", [3]);
  return graphOf({ x, y }, { sum: add(x, y) });
}

/** A product whose inner sizes are not known to agree before it runs: they carry one symbol, but nobody checks the feeds. */
export function productGraph(): Graph {
  const [rows, inner] = [symbol("rows"), symbol("inner")];
  const p = input("p", "float32", [rows, inner]);
  const q = input("q", "float32", [inner, rows]);
  return graphOf({ p, q }, { product: matmul(p, q) });
}

export const float32 = (shape: readonly number[], values: ArrayLike<number>): HostArray => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});

/** Loads a graph, runs it once and reads the outputs; buffers are given for those in `given`. */
export async function runOnce(
  engine: Engine,
  graph: Graph,
  feeds: Readonly<Record<string, HostArray>>,
  given: Readonly<Record<string, HostArray>> = {},
): Promise<Readonly<Record<string, HostArray>>> {
  const model = await engine.load(modelSource(engine, graph));
  const buffers = new Map(
    await Promise.all(Object.entries(feeds).map(async ([name, array]) => [name, await engine.upload(array)] as const)),
  );
  const wanted = new Map(
    await Promise.all(
      [...graph.outputs.keys()].map(async (name) => [name, given[name] && (await engine.upload(given[name]))] as const),
    ),
  );
  try {
    const produced = await model.run(buffers, wanted);
    const arrays: Record<string, HostArray> = {};
    for (const [name, buffer] of produced) arrays[name] = await engine.read(buffer);
    return arrays;
  } finally {
    await model.release();
    for (const buffer of [...buffers.values(), ...wanted.values()]) if (buffer) await engine.release(buffer);
  }
}
