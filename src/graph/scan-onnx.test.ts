import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { evaluate } from "../engine/reference/interpret.js";
import { optimize } from "../onnx/passes/index.js";
import { checkpoint } from "./checkpoint.js";
import { symbol } from "./dim.js";
import { grad } from "./gradient.js";
import { fromNumbers, type HostArray } from "./host-array.js";
import { constant, input, noiseOp, random } from "./leaves.js";
import { add, cast, matmul, mul, sum, tanh, zeros } from "./ops/index.js";
import { scan } from "./scan.js";
import type { Tensor } from "./tensor.js";
import { difference, loaderFor } from "./testing/compare.js";
import { graphOf } from "./testing/values.js";

const steps = symbol("steps");
const wave = (count: number, phase: number): number[] => Array.from({ length: count }, (_, i) => Math.sin(phase + 1.3 * i));

const x = input("x", "float32", [steps, 3]);
const w = input("w", "float32", [3, 3]);

/** h ← tanh(h·w + element), with its weight used in another loop inside for good measure. */
const recurrent = (wrap: <R extends Tensor>(fn: () => R) => R, reverse: boolean) =>
  scan(
    ([state], [element]) => {
      const next = wrap(() => tanh(add(matmul(state, w), element)));
      const inner = scan(([total], [value]) => ({ carry: [add(mul(total, 0.5), mul(value, sum(state)))] }), {
        carry: [constant(0)],
        sequences: [element],
      });
      const mask = cast(random.bernoulli([3], 0.5), "float32");
      return { carry: [mul(next, mask)], outputs: [mul(next, inner.carry[0]), next] };
    },
    { carry: [zeros([3])], sequences: [x], reverse },
  );

describe("scan on ONNX Runtime", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await onnxRuntimeNode({ threads: 1 });
  });
  afterAll(() => engine.close());

  /** Runs on both, for several lengths; steps none included. */
  const compare = async (tensors: readonly Tensor[]): Promise<void> => {
    const graph = graphOf(tensors);
    const loaded = await loaderFor(engine)(optimize(graph));
    for (const length of [4, 1, 0, 2]) {
      const feeds = new Map<string, HostArray>();
      for (const [name, { node }] of graph.inputs) {
        const noise = () =>
          fromNumbers(
            "bool",
            [length, 3],
            wave(3 * length, 5).map((value) => Number(value > 0)),
          );
        const rows = name === "w" ? 3 : length;
        feeds.set(name, node.op === noiseOp ? noise() : fromNumbers("float32", [rows, 3], wave(3 * rows, 0.7)));
      }
      const expected = evaluate(graph, feeds);
      const actual = await loaded.run(feeds);
      for (const [name, array] of expected)
        expect(difference(actual.get(name) as HostArray, array, 1e-5), `${name}, ${length} steps`).toBeUndefined();
    }
    await loaded.release();
  };

  it.each([
    ["plain", (fn: () => Tensor) => fn(), false],
    ["in reverse", (fn: () => Tensor) => fn(), true],
    ["with recomputation in the step", checkpoint, false],
  ] as const)("computes forward, backward and twice backward: %s", async (_, wrap, reverse) => {
    const { carry, outputs } = recurrent(wrap as <R extends Tensor>(fn: () => R) => R, reverse);
    const loss = add(sum(mul(carry[0], carry[0])), add(sum(mul(outputs[0], outputs[1])), sum(outputs[1])));
    const gradients = grad(loss, [x, w]);
    const second = grad(
      gradients.map((gradient) => sum(mul(gradient, gradient))).reduce((a, b) => add(a, b)),
      [x, w],
    );
    await compare([carry[0], ...outputs, ...gradients, ...second]);
  });

  it("works recomputed as a whole", async () => {
    const [last] = checkpoint(() => recurrent((fn) => fn(), false).carry);
    await compare([last, ...grad(sum(mul(last, last)), [x, w])]);
  });

  it.each([
    ["the last state", ({ carry }: ReturnType<typeof recurrent>) => [carry[0]]],
    ["one output", ({ outputs }: ReturnType<typeof recurrent>) => [outputs[1]]],
  ])("leaves out what nothing reads: only %s", async (_, pick) => {
    await compare(pick(recurrent((fn) => fn(), false)));
  });

  it("knows the number of steps when nothing else of the sequence is read", async () => {
    const { carry } = scan(([count]) => ({ carry: [add(count, 1)] }), { carry: [constant(0)], sequences: [x] });
    await compare([carry[0], sum(x)]);
  });
});
