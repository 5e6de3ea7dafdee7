/** A student with batch statistics and a teacher that follows it, in one compiled step, against PyTorch's numbers. */

import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import { toCheckpointName } from "../checkpoint/names.js";
import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { stopGradient } from "../graph/custom-gradient.js";
import { type HostArray, mean, square, sub, type Tensor, tanh, toNumbers, withTraining } from "../graph/index.js";
import { Linear } from "../nn/linear.js";
import { Module, withRoot } from "../nn/module.js";
import { BatchNorm } from "../nn/norm.js";
import { compile } from "../program/compile.js";
import { float32 } from "../program/signature.js";
import { AdamW } from "./adamw.js";

const folder = new URL("../../reference/golden/", import.meta.url);
const { tensors } = decodeSafetensors(readFileSync(new URL("teacher.safetensors", folder)));
const { config } = JSON.parse(readFileSync(new URL("teacher.json", folder), "utf8")) as {
  config: { steps: number; decay: number; learningRate: number; betas: [number, number]; epsilon: number };
};

const golden = (name: string): HostArray<"float32"> => {
  const found = tensors.get(name);
  if (!found) throw new Error(`teacher.safetensors has no ${name}`);
  return found as HostArray<"float32">;
};

/** Row `step` of a golden tensor. */
function row(name: string, step: number): HostArray<"float32"> {
  const { shape, data } = golden(name);
  const length = data.length / (shape[0] as number);
  return { dtype: "float32", shape: shape.slice(1), data: data.slice(step * length, (step + 1) * length) };
}

const difference = (actual: HostArray, expected: HostArray): number => {
  expect(actual.shape).toEqual(expected.shape);
  const target = toNumbers(expected);
  return toNumbers(actual).reduce((most, value, i) => Math.max(most, Math.abs(value - (target[i] as number))), 0);
};

class Network extends Module {
  readonly body = new Linear(5, 6, { bias: false });
  readonly norm = new BatchNorm(6);
  readonly head = new Linear(6, 3);

  forward(x: Tensor): Tensor {
    return this.head.forward(tanh(this.norm.forward(this.body.forward(x))));
  }
}

const engine = referenceEngine();
const mse = (a: Tensor, b: Tensor) => mean(square(sub(a, b)));

describe("an EMA teacher in the student's step", () => {
  const [student, teacher] = [new Network(), new Network()];
  const roots = { student, teacher };
  beforeEach(() => {
    for (const [root, module] of Object.entries(roots))
      for (const [path, variable] of module.variables()) variable.write(golden(`start.${root}.${toCheckpointName(path)}`));
  });

  it.each([
    ["in float64", {}],
    // New weights are written over the old ones, which the teacher must not read in their place.
    ["on ONNX Runtime, in place", { engine: onnxRuntimeNode({ threads: 1 }), updateInPlace: true }],
  ])("follows PyTorch over the steps: weights, running statistics and losses, %s", async (_, options) => {
    const { betas, epsilon, learningRate, decay } = config;
    const optimizer = new AdamW(student, { betas, epsilon, weightDecay: 0.1 });
    await using step = compile(
      ({ x, y }) => {
        const predicted = withRoot("student", () => student.forward(x));
        const taught = withRoot("teacher", () => withTraining(false, () => teacher.forward(x)));
        const loss = mse(predicted, y).add(mse(predicted, stopGradient(taught)));
        optimizer.update(loss, { learningRate });
        const learned = student.variables();
        for (const [path, variable] of teacher.variables())
          variable.assign(
            variable.mul(decay).add(
              learned
                .get(path)
                ?.next()
                .mul(1 - decay) as Tensor,
            ),
          );
        return { loss };
      },
      { x: float32("rows", 5), y: float32("rows", 3) },
      { engine, ...options },
    );
    expect(step.names).toEqual(expect.arrayContaining(["student.norm.output", "teacher.norm.output"]));
    for (let i = 0; i < config.steps; i++) {
      const { loss } = await step({ x: row("x", i), y: row("y", i) });
      expect(Math.abs(loss.item() - (golden("steps.loss").data[i] as number)), `loss of step ${i + 1}`).toBeLessThan(1e-5);
      for (const [root, module] of Object.entries(roots))
        for (const [path, variable] of module.variables()) {
          const expected = row(`steps.${root}.${toCheckpointName(path)}`, i);
          expect(difference(await variable.read(), expected), `${root}.${path} after step ${i + 1}`).toBeLessThan(2e-5);
        }
    }
  });

  it("refuses an update behind a next value that was read", () => {
    const optimizer = new AdamW(student);
    const early = () =>
      compile(
        ({ x, y }) => {
          const loss = mse(student.forward(x), y);
          const next = student.head.weight.next();
          optimizer.update(loss, { learningRate: 0.1 });
          return { next };
        },
        { x: float32("rows", 5), y: float32("rows", 3) },
        { engine },
      );
    expect(early).toThrow(/head\.weight .*assigned after its next value was read.*behind the last update/);
  });
});

it("batch statistics of two calls in one step are remembered one after the other, as PyTorch does it", async () => {
  const norm = new BatchNorm(5);
  await using step = compile(
    ({ first, second }) => ({ a: norm.forward(first), b: norm.forward(second) }),
    { first: float32("rows", 5), second: float32("rows", 5) },
    { engine, training: true },
  );
  await step({ first: row("x", 0), second: row("x", 1) });
  expect(difference(await norm.runningMean.read(), golden("twice.running_mean"))).toBeLessThan(1e-6);
  expect(difference(await norm.runningVar.read(), golden("twice.running_var"))).toBeLessThan(1e-6);
});
