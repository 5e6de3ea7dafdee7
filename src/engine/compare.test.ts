import { afterAll, describe, expect, it } from "vitest";
import { symbol } from "../graph/dim.js";
import type { Graph } from "../graph/graph.js";
import { rewriteGraph } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import { add, cast, exp, mul, sin, sub } from "../graph/ops/index.js";
import type { Tensor } from "../graph/tensor.js";
import { withScope } from "../graph/trace.js";
import { compareEngines, describeComparison } from "./compare.js";
import type { Engine, Lowering } from "./engine.js";
import { onnxRuntimeNode } from "./onnxruntime/node.js";
import { referenceEngine } from "./reference/engine.js";
import { float32, graphOf } from "./testing/graphs.js";

const engines = await Promise.all([onnxRuntimeNode({ threads: 1 }), referenceEngine()]);
const [onnxRuntime, reference] = engines;
afterAll(() => Promise.all(engines.map((engine) => engine.close())));

/** The same engine, told of graphs in another way. */
const withLowering = (engine: Engine, lowering: Partial<Lowering>): Engine => ({
  ...engine,
  name: engine.name,
  device: engine.device,
  lowering: { faces: {}, passes: [], ...lowering },
  upload: (array) => engine.upload(array),
  read: (buffer) => engine.read(buffer),
  release: (buffer) => engine.release(buffer),
  load: (source) => engine.load(source),
});

/** Three layers, so that a wrong one is followed by values that are wrong because of it. */
function layers(): { graph: Graph; inputs: ReadonlyMap<string, HostArray> } {
  const x = input("x", "float32", [symbol("rows"), 2]);
  const y = [0, 1, 2].reduce<Tensor>(
    (h, i) => withScope(`layers.${i}`, () => (i === 1 ? add(sin(mul(h, 0.5)), h) : exp(mul(h, -0.5)))),
    x,
  );
  return { graph: graphOf({ x }, { y }), inputs: new Map([["x", float32([2, 2], [0.1, 0.2, -0.3, 0.4])]]) };
}

describe("comparing engines", () => {
  it("finds that two engines agree", async () => {
    const { graph, inputs } = layers();
    const comparison = await compareEngines(graph, inputs, onnxRuntime, reference);
    expect(comparison).toEqual({ compared: 7, origins: [], disagreements: [] });
    expect(describeComparison(comparison)).toBe("All 7 values agree.");
  });

  it("finds and names a wrong lowering of an operator", async () => {
    const { graph, inputs } = layers();
    const wrong = withLowering(onnxRuntime, { faces: { sin: (node, [x]) => node("Cos", [x]) } });
    const comparison = await compareEngines(graph, inputs, wrong, reference);
    expect(comparison.origins).toHaveLength(1);
    expect(comparison.origins[0]).toMatchObject({
      operator: "sin",
      module: "layers.1",
      value: expect.stringMatching(/^sin float32\[/),
    });
    // cos 0 - sin 0, about
    expect(comparison.origins[0]?.maxDifference).toBeGreaterThan(0.5);
    expect(comparison.disagreements.map(({ operator }) => operator)).toEqual(["sin", "add", "mul", "exp"]);
    expect(comparison.disagreements.at(-1)?.value).toBe("y");
    expect(describeComparison(comparison)).toMatch(
      /^4 of 7 values differ, beginning with:\n {2}sin .* in layers\.1: differs by /,
    );
  });

  it("finds a wrong rewriting of several nodes, which asking for all values would undo", async () => {
    const x = input("x", "float32", [2]);
    const doubled = withScope("inner", () => mul(x, 2));
    const shifted = withScope("outer", () => add(doubled, 1));
    const graph = graphOf({ x }, { y: exp(shifted) });
    const inputs = new Map([["x", float32([2], [0.5, -0.5])]]);
    // 2x + 1 as one node, wrongly, where nobody else wants 2x.
    const fuse = (original: Graph): Graph =>
      rewriteGraph(original, (node, [first]) => {
        const wanted = [...original.outputs.values()];
        if (node.op.name !== "add" || first?.node.op.name !== "mul" || wanted.includes(first)) return undefined;
        return [sub(first.node.inputs[0] as Tensor, 1)];
      });
    const comparison = await compareEngines(graph, inputs, withLowering(onnxRuntime, { passes: [fuse] }), reference);
    expect(comparison.origins).toMatchObject([{ operator: "add", module: "outer" }]);
    expect(comparison.disagreements).toMatchObject([{ value: "y" }]);
  });

  it("looks away from differences within the tolerance", async () => {
    const { graph, inputs } = layers();
    const inexact = withLowering(onnxRuntime, {
      faces: { sin: (node, [x]) => node("Mul", [node("Sin", [x]), node.scalar("float32", 1.001)]) },
    });
    const compare = (tolerance: number) => compareEngines(graph, inputs, inexact, reference, { tolerance });
    expect((await compare(1e-2)).origins).toEqual([]);
    expect((await compare(1e-5)).origins).toMatchObject([{ operator: "sin" }]);
  });

  it("takes NaN for NaN, and compares values of a kind that an engine does not give out", async () => {
    const x = input("x", "float32", [3]);
    const graph = graphOf({ x }, { y: cast(cast(x, "bfloat16"), "float32") });
    const inputs = new Map([["x", float32([3], [1.001, -2.5, Number.NaN])]]);
    expect(await compareEngines(graph, inputs, onnxRuntime, reference)).toMatchObject({ compared: 2, disagreements: [] });
  });
});
