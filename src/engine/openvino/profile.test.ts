import { describe, expect, it } from "vitest";
import { input, matmul, softmax } from "../../graph/index.js";
import { withScope } from "../../graph/trace.js";
import { profileOperators } from "../placement.js";
import { float32, graphOf } from "../testing/graphs.js";
import { whyNoOpenVino } from "../testing/openvino.js";

const absent = await whyNoOpenVino();

const size = 64;
const x = input("x", "float32", [size, size]);
const graph = graphOf(
  { x },
  // Apart from one another: products with a softmax between them OpenVINO computes as one.
  {
    weights: softmax(x, 1),
    product: withScope("layers.0", () =>
      matmul(
        withScope("mixing", () => matmul(x, x)),
        x,
      ),
    ),
  },
);
const inputs = new Map([["x", float32([size, size], new Float32Array(size * size).fill(0.5))]]);

describe.skipIf(absent)(absent ?? "where the time goes on OpenVINO", () => {
  it.each(["openvino", "auto"] as const)("is told for each kind of operator, asked for as '%s'", async (engine) => {
    const times = await profileOperators(graph, inputs, { engine, threads: 1, runs: 3 });
    expect(times.find(({ operator }) => operator === "matmul")).toMatchObject({
      calls: 2,
      kernel: expect.stringMatching(/^MatMul .+f32$/),
    });
    expect(times.find(({ operator }) => operator === "softmax")).toMatchObject({
      calls: 1,
      kernel: expect.stringMatching(/^Softmax /),
    });
    const seconds = times.map((time) => time.seconds);
    expect(seconds).toEqual(seconds.toSorted((a, b) => b - a));
    expect(seconds[0]).toBeGreaterThan(0);
  });

  it("cannot be told of another device", async () => {
    await expect(profileOperators(graph, inputs, { engine: "openvino", device: "webgpu" })).rejects.toThrow(
      "OpenVINO runs on the device 'cpu' here, but 'webgpu' was asked for.",
    );
  });
});
