import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { expect, it } from "vitest";
import { writeOnnx } from "../onnx/writer.js";
import { barrier } from "./barrier.js";
import { symbol } from "./dim.js";
import { grad } from "./gradient.js";
import { input } from "./leaves.js";
import { mul, sin, sum } from "./ops/index.js";
import { graphOf, numbersOf } from "./testing/values.js";

it("is the value, with its gradient; what it waits for has none", () => {
  const x = input("x", "float32", [symbol("n")]);
  const after = input("after", "float32", [2]);
  const y = barrier(mul(x, x), sin(after));
  expect(numbersOf([y, ...grad(sum(y), [x, after])], { x: [1, 2, 3], after: [4, 5] })).toEqual([
    [1, 4, 9],
    [2, 4, 6],
    [0, 0],
  ]);
});

it.each([
  ["NaN", [2], [Number.NaN, Number.NaN]],
  ["infinities", [2], [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
  ["nothing", [0], []],
])("lets nothing of what it waits for through: %s", async (_, shape, values) => {
  const x = input("x", "float32", [symbol("rows"), 2]);
  const after = input("after", "float32", [symbol("n")]);
  const session = await InferenceSession.create(writeOnnx(graphOf([barrier(x, after)])));
  const feeds = {
    x: new OrtTensor("float32", new Float32Array([1, 2, 3, 4]), [2, 2]),
    after: new OrtTensor("float32", new Float32Array(values), shape),
  };
  const y = (await session.run(feeds))["0"] as OrtTensor;
  await session.release();
  expect(y.dims).toEqual([2, 2]);
  expect([...(y.data as Float32Array)]).toEqual([1, 2, 3, 4]);
});
