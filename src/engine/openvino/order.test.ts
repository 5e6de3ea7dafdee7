import { describe, expect, it } from "vitest";
import { symbol } from "../../graph/dim.js";
import { vectorJacobian } from "../../graph/gradient.js";
import { nodesOf } from "../../graph/graph.js";
import { add, input, mul, rmsNorm, type Tensor } from "../../graph/index.js";
import { Llama } from "../../models/index.js";
import { AdamW } from "../../optim/index.js";
import { compile, float32, int32 } from "../../program/index.js";
import { referenceEngine } from "../reference/engine.js";
import { graphOf, runOnce } from "../testing/graphs.js";
import { lateNormalization, scalarsFirst } from "./order.js";

const a = input("a", "float32", [2]);
const s = input("s", "float32", []);
const t = input("t", "float32", []);
const operandsOf = (tensor: Tensor): readonly string[] =>
  tensor.node.inputs.map(({ node }) => String(node.attributes.name ?? node.op.name));

describe("scalars first", () => {
  const reordered = (y: Tensor): readonly string[] =>
    operandsOf(scalarsFirst(graphOf({ a, s, t }, { y })).outputs.get("y") as Tensor);

  it("turns sums and products whose second operand is a scalar round, and no others", () => {
    expect(reordered(mul(a, s))).toEqual(["s", "a"]);
    expect(reordered(add(s, t))).toEqual(["t", "s"]);
    expect(reordered(mul(s, a))).toEqual(["s", "a"]);
    expect(reordered(add(a, a))).toEqual(["a", "a"]);
    expect(reordered(a.div(s))).toEqual(["a", "s"]);
  });
});

/** The graph of a small step, with the data of its inputs. */
async function step() {
  const engine = referenceEngine();
  const model = new Llama({ vocabSize: 16, hiddenSize: 8, numHiddenLayers: 2, numAttentionHeads: 2 }).initialize(1);
  const optimizer = new AdamW(model);
  await using program = compile(
    ({ ids, labels, rate }) => {
      const loss = model.loss(ids, labels);
      optimizer.update(loss, { learningRate: rate, clipNorm: 1 });
      return { loss };
    },
    { ids: int32("batch", "seq"), labels: int32("batch", "seq"), rate: float32() },
    { engine },
  );
  const { graph, inputs } = await program.capture({ ids: [[1, 2, 3]], labels: [[2, 3, 4]], rate: 0.1 });
  return { engine, graph, inputs };
}

describe("late normalization", () => {
  it("puts one barrier into the backward pass of each norm", async () => {
    const { graph } = await step();
    const barriers = (of: typeof graph) => nodesOf(of.outputs.values()).filter(({ op }) => op.name === "waitFor").length;
    const norms = nodesOf(graph.outputs.values()).filter(({ op }) => op.name === "rmsNorm").length;
    expect(norms).toBe(5);
    expect(barriers(lateNormalization(graph, 1)) - barriers(graph)).toBe(norms);
  });

  it("leaves small values alone, and takes those of unknown sizes for large", async () => {
    const { graph } = await step();
    expect(lateNormalization(graph).outputs).toEqual(graph.outputs);
    const x = input("x", "float32", [symbol("rows"), 8]);
    const dx = vectorJacobian([rmsNorm(x, input("w", "float32", [8]))], [input("dy", "float32", x.shape)], [x]);
    const unknown = graphOf({ x }, { dx: dx[0] as Tensor });
    const waits = (of: typeof unknown) => nodesOf(of.outputs.values()).some(({ op }) => op.name === "waitFor");
    expect([waits(unknown), waits(lateNormalization(unknown))]).toEqual([false, true]);
  });

  it("changes nothing where no gradient is taken", () => {
    const graph = graphOf({ a }, { y: rmsNorm(a) });
    expect(lateNormalization(graph, 1).outputs.get("y")).toBe(graph.outputs.get("y"));
  });
});

it("both leave every result of a training step as it was", async () => {
  const { engine, graph, inputs } = await step();
  const data = Object.fromEntries(inputs);
  const expected = await runOnce(engine, graph, data);
  const found = await runOnce(engine, scalarsFirst(lateNormalization(graph, 1)), data);
  expect(Object.keys(found)).toEqual(Object.keys(expected));
  for (const [name, { data: values }] of Object.entries(expected))
    for (const [i, value] of values.entries()) expect(Number(found[name]?.data[i])).toBeCloseTo(Number(value), 6);
});
