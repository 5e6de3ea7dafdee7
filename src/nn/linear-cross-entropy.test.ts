import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import {
  add,
  checkpoint,
  crossEntropy,
  grad,
  type HostArray,
  hostArray,
  matmul,
  mul,
  nodesOf,
  type Tensor,
  tanh,
} from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { compile, float32, int32 } from "../program/index.js";
import {
  type LinearCrossEntropyOptions,
  linearCrossEntropy,
  linearLogits,
  linearLosses,
  logitsLosses,
} from "./linear-cross-entropy.js";

const engine = await onnxRuntimeNode({ threads: 2 });

type Loss = (hidden: Tensor, weight: Tensor, labels: Tensor) => Tensor;

const ofLogits: Loss = (hidden, weight, labels) => crossEntropy(matmul(hidden, weight, { transposeB: true }), labels);

interface Case {
  readonly hidden: HostArray<"float32">;
  readonly weight: HostArray<"float32">;
  readonly labels: HostArray<"int32">;
}

/** Rows of width 4 and a vocabulary of 7; `ignored` says which labels are −100. */
function makeCase(shape: readonly number[], ignored: (row: number) => boolean, scale = 1): Case {
  const random = namedRandom(2, "case");
  const rows = shape.reduce((a, b) => a * b, 1);
  const values = (count: number) => Float32Array.from({ length: count }, () => scale * random.normal());
  return {
    hidden: hostArray("float32", [...shape, 4], values(rows * 4)),
    weight: hostArray("float32", [7, 4], values(28)),
    labels: hostArray(
      "int32",
      shape,
      Int32Array.from({ length: rows }, (_, row) => (ignored(row) ? -100 : random.below(7))),
    ),
  };
}

/** Loss and gradients; the loss is used twice, so that its gradient is not 1. */
async function run(loss: Loss, { hidden, weight, labels }: Case, training: boolean) {
  await using program = compile(
    (inputs) => {
      const value = loss(inputs.hidden, inputs.weight, inputs.labels);
      const [dHidden, dWeight] = grad(mul(value, mul(value, 3)), [inputs.hidden, inputs.weight]) as [Tensor, Tensor];
      return { value, dHidden, dWeight };
    },
    { hidden: float32(...hidden.shape), weight: float32(7, 4), labels: int32(...labels.shape) },
    { engine, training },
  );
  return program({ hidden, weight, labels });
}

function expectEqual(actual: Awaited<ReturnType<typeof run>>, expected: Awaited<ReturnType<typeof run>>): void {
  for (const name of ["value", "dHidden", "dWeight"] as const) {
    expect(actual[name].shape).toEqual(expected[name].shape);
    const target = expected[name].toNumbers();
    const scale = Math.max(1, ...target.map(Math.abs));
    for (const [i, value] of actual[name].toNumbers().entries())
      if (!(Math.abs(value - (target[i] as number)) / scale < 1e-5)) expect.fail(`${name}[${i}]: ${value}, not ${target[i]}`);
  }
}

describe("linearCrossEntropy", () => {
  it.each([
    ["one row", [1]],
    ["some rows", [3, 5]],
    ["a chunk exactly", [2, 256]],
    ["a chunk and one row", [513]],
    ["chunks and a rest", [3, 4, 100]],
  ])("equals crossEntropy of all logits in value and gradients: %s", async (_, shape) => {
    for (const ignored of [() => false, (row: number) => row % 3 === 1]) {
      const given = makeCase(shape, ignored);
      expectEqual(await run(linearCrossEntropy, given, true), await run(ofLogits, given, true));
    }
  });

  it("does so wherever labels are ignored", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }),
        fc.double({ min: 0.1, max: 20, noNaN: true }),
        async (mask, scale) => {
          const given = makeCase([mask.length], (row) => mask[row] as boolean, scale);
          expectEqual(await run(linearCrossEntropy, given, true), await run(ofLogits, given, true));
        },
      ),
      { numRuns: 15 },
    );
  });

  it.each<[string, LinearCrossEntropyOptions]>([
    ["a z-loss", { zLoss: 0.3 }],
    ["a soft cap", { softCap: 1.5 }],
    ["a z-loss of capped logits", { zLoss: 0.05, softCap: 2 }],
  ])("has %s as the loss of all logits has it, gradients too", async (_, options) => {
    const { zLoss = 0, ...logits } = options;
    const chunked: Loss = (hidden, weight, labels) => linearCrossEntropy(hidden, weight, labels, options);
    const whole: Loss = (hidden, weight, labels) => crossEntropy(linearLogits(hidden, weight, logits), labels, { zLoss });
    const given = makeCase([700], (row) => row % 5 === 0, 2);
    const [actual, expected] = [await run(chunked, given, true), await run(whole, given, true)];
    expectEqual(actual, expected);
    expectEqual(await run(chunked, given, false), expected);
    expect(expected.value.item()).not.toBeCloseTo((await run(ofLogits, given, true)).value.item(), 2);
  });

  it.each([true, false])("tells the cross-entropy apart from the z-loss (training: %j)", async (training) => {
    const given = makeCase([700], (row) => row % 5 === 0, 2);
    const apart: Loss = (...operands) => linearLosses(...operands, { zLoss: 0.3, softCap: 2 }).crossEntropy;
    const alone: Loss = (hidden, weight, labels) => crossEntropy(linearLogits(hidden, weight, { softCap: 2 }), labels);
    const [told, expected] = [await run(apart, given, training), await run(alone, given, training)];
    expect(told.value.item()).toBeCloseTo(expected.value.item(), 5);
    // A report: no gradient flows through it.
    expect([...told.dHidden.toNumbers(), ...told.dWeight.toNumbers()].every((value) => value === 0)).toBe(true);
  });

  it("is 0 with gradients 0 where all labels are ignored, in one chunk or in all", async () => {
    const nothing = await run(
      linearCrossEntropy,
      makeCase([600], () => true),
      true,
    );
    for (const array of [nothing.value, nothing.dHidden, nothing.dWeight])
      expect(array.toNumbers().every((value) => value === 0)).toBe(true);
    const given = makeCase([1024], (row) => row >= 512);
    expectEqual(await run(linearCrossEntropy, given, true), await run(ofLogits, given, true));
  });

  it("takes logits that are far apart", async () => {
    const given = makeCase([40], () => false, 60);
    const { value, dHidden } = await run(linearCrossEntropy, given, true);
    expect(value.item()).toBeGreaterThan(100);
    expect(dHidden.toNumbers().every(Number.isFinite)).toBe(true);
    expectEqual(await run(linearCrossEntropy, given, true), await run(ofLogits, given, true));
  });

  it("never has all logits at once where the size is known, in training or not", () => {
    const products = (training: boolean, size: number | "n") => {
      let shapes: string[] = [];
      compile(
        ({ hidden, weight, labels }) => {
          const loss = linearCrossEntropy(hidden, weight, labels);
          shapes = nodesOf([loss, ...grad(loss, [hidden, weight])])
            .filter(({ op, outputs }) => op.name === "matmul" && outputs[0]?.size(-1) === 7)
            .map(({ outputs }) => String(outputs[0]?.size(0)));
          return { loss };
        },
        { hidden: float32(size, 4), weight: float32(7, 4), labels: int32(size) },
        { engine, training },
      );
      return shapes;
    };
    expect(products(true, 1100)).toEqual(["512", "512", "76"]);
    expect(products(false, 1100)).toEqual(["512", "512", "76"]);
    expect(products(true, "n")).toEqual(["n"]);
  });

  it("takes any last layer, and gives gradients to all that it reads", async () => {
    const given = makeCase([700], (row) => row % 5 === 0);
    // A low-rank path beside the linear map, which reads a tensor that was made before: 3·weight.
    const layer = (h: Tensor, w: Tensor, tripled: Tensor) =>
      add(matmul(h, w, { transposeB: true }), mul(matmul(tanh(h), tripled, { transposeB: true }), 0.5));
    const chunked: Loss = (h, w, labels) => {
      const tripled = mul(w, 3);
      return logitsLosses(h, (rows) => layer(rows, w, tripled), labels, 0.1).loss;
    };
    const whole: Loss = (h, w, labels) => crossEntropy(layer(h, w, mul(w, 3)), labels, { zLoss: 0.1 });
    expectEqual(await run(chunked, given, true), await run(whole, given, true));
  });

  it("can be recomputed", async () => {
    const given = makeCase([700], (row) => row % 5 === 0);
    const recomputed: Loss = (...operands) => checkpoint(() => linearCrossEntropy(...operands));
    expectEqual(await run(recomputed, given, true), await run(linearCrossEntropy, given, true));
  });
});
