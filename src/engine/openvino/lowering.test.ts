/** Forms that OpenVINO has faster operators for, where the registry's examples do not reach. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../graph/index.js";
import { grad } from "../../graph/gradient.js";
import type { Graph } from "../../graph/graph.js";
import { elementCount, fromNumbers, type HostArray, toNumbers } from "../../graph/host-array.js";
import { constant, input } from "../../graph/leaves.js";
import { rmsNorm, rope, scatterAdd, sin, sum, sumOfSquares } from "../../graph/ops/index.js";
import { namedRandom } from "../../graph/random.js";
import type { Tensor } from "../../graph/tensor.js";
import type { Engine, EngineBuffer } from "../engine.js";
import { modelSource } from "../model-source.js";
import { evaluate } from "../reference/interpret.js";
import { graphOf } from "../testing/graphs.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { openVino, profileOf } from "./engine.js";

const absent = await whyNoOpenVino();

function randomArray(name: string, shape: readonly number[]): HostArray {
  const { normal } = namedRandom(3, name);
  return fromNumbers(
    "float32",
    shape,
    Array.from({ length: elementCount(shape) }, () => normal()),
  );
}

describe.skipIf(absent)(absent ?? "OpenVINO's forms of operators", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openVino({ threads: 2, profile: true });
  });
  afterAll(() => engine?.close());

  /** The largest difference from the reference, as a part of the largest value, and what OpenVINO computed with. */
  async function compute(graph: Graph, feeds: ReadonlyMap<string, HostArray>) {
    const [expected] = evaluate(graph, feeds).values();
    const model = await engine.load(modelSource(engine, graph));
    const buffers = new Map<string, EngineBuffer>();
    for (const [name, array] of feeds) buffers.set(name, await engine.upload(array));
    const [result] = (await model.run(buffers, new Map([["y", undefined]]))).values();
    const found = toNumbers(await engine.read(result as EngineBuffer));
    const layerTypes = profileOf(model)
      .filter(({ executed }) => executed)
      .map(({ layerType }) => layerType);
    await model.release();
    const target = toNumbers(expected as HostArray);
    const largest = (numbers: Float64Array) => numbers.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return { error: largest(target.map((value, i) => value - (found[i] as number))) / largest(target), layerTypes };
  }

  it.each(["constants", "fed"])("rotate positions in one pass, by angles that are %s", async (angles) => {
    const feeds = new Map([["x", randomArray("x", [2, 3, 40, 16])]]);
    const table = (name: string) => {
      const array = randomArray(name, [40, 8]);
      if (angles === "constants") return constant(array);
      feeds.set(name, array);
      return input(name, "float32", array.shape);
    };
    const inputs = { x: input("x", "float32", [2, 3, 40, 16]) };
    const y = rope(inputs.x, table("cos"), table("sin"));
    const tables = angles === "fed" ? { cos: y.node.inputs[1], sin: y.node.inputs[2] } : {};
    const { error, layerTypes } = await compute(graphOf({ ...inputs, ...tables } as typeof inputs, { y }), feeds);
    expect(error).toBeLessThan(1e-6);
    expect(layerTypes).toContain("RoPE");
    expect(layerTypes).not.toContain("Split");
  });

  it.each([[2 ** 16], [2 ** 17 + 6], [100_003], [300, 511], [3, 64, 1024]])("add up the squares of %j", async (...shape) => {
    const x = input("x", "float32", shape);
    const { error } = await compute(graphOf({ x }, { y: sumOfSquares(x) }), new Map([["x", randomArray("x", shape)]]));
    expect(error).toBeLessThan(1e-4);
  });

  it("normalize rows of any length without writing their squares", async () => {
    const x = input("x", "float32", [3, 40]);
    const [dx] = grad(sum(sin(rmsNorm(x, undefined, { epsilon: 1e-5 }))), [x]) as [Tensor];
    const rows = randomArray("x", [3, 40]);
    // A row of zeros, one of tiny and one of huge numbers.
    const data = Float32Array.from(
      rows.data as Float32Array,
      (value, i) => value * ([0, 1e-4, 1e6][Math.floor(i / 40)] as number),
    );
    const { error, layerTypes } = await compute(graphOf({ x }, { y: dx }), new Map([["x", { ...rows, data } as HostArray]]));
    expect(error).toBeLessThan(1e-4);
    expect(layerTypes).toContain("ReduceL2");
  });

  it("lose no update of a row that many are added to", async () => {
    const [table, count, width] = [5, 20_000, 48];
    const inputs = {
      x: input("x", "float32", [table, width]),
      indices: input("indices", "int32", [count]),
      updates: input("updates", "float32", [count, width]),
    };
    const feeds = new Map<string, HostArray>([
      ["x", randomArray("x", [table, width])],
      [
        "indices",
        fromNumbers(
          "int32",
          [count],
          Array.from({ length: count }, (_, i) => (i % 3) + 1),
        ),
      ],
      ["updates", fromNumbers("float32", [count, width], new Array(count * width).fill(1))],
    ]);
    const graph = graphOf(inputs, { y: scatterAdd(inputs.x, inputs.indices, inputs.updates) });
    for (let run = 0; run < 5; run++) {
      const { error, layerTypes } = await compute(graph, feeds);
      expect(error).toBeLessThan(1e-6);
      expect(layerTypes).toContain("ScatterNDUpdate");
    }
  });
});
