import { afterAll, describe, expect, it } from "vitest";
import { compareEngines, profileOperators } from "../engine/index.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { matmul, Parameter, softmax, sum } from "../graph/index.js";
import { dropout } from "../nn/dropout.js";
import { compile } from "./compile.js";
import { float32 } from "./signature.js";

const engine = await onnxRuntimeNode({ threads: 1 });
const reference = referenceEngine();
afterAll(() => Promise.all([engine.close(), reference.close()]));

const weight = new Parameter([3, 2]);
weight.write({ dtype: "float32", shape: [3, 2], data: new Float32Array([1, 2, 3, 4, 5, 6]) });
const makeProgram = () =>
  compile(
    ({ x }) => {
      const y = softmax(matmul(dropout(x, 0.5), weight));
      weight.assign(weight.mul(2));
      return { y, total: sum(y) };
    },
    { x: float32("rows", 3) },
    { engine },
  );
const feeds = { x: [[1, 2, 3]] };

describe("a captured run", () => {
  it("has the data of all inputs: feeds, state as it is now, and noise of the step that is asked for", async () => {
    await using program = makeProgram();
    const { graph, inputs } = await program.capture(feeds, { step: 3 });
    expect([...inputs.keys()].sort()).toEqual([...graph.inputs.keys()].sort());
    expect([...inputs.keys()].map((name) => name.split(":")[0]).sort()).toEqual(["feed", "noise", "variable"]);
    const again = await program.capture(feeds, { step: 3 });
    expect(again.inputs).toEqual(inputs);

    const before = Number(inputs.get("variable:0:")?.data[5]);
    await program(feeds);
    expect((await program.capture(feeds)).inputs.get("variable:0:")?.data[5]).toBe(2 * before);
  });

  it("can be run on two engines and compared", async () => {
    await using program = makeProgram();
    const { graph, inputs } = await program.capture(feeds);
    const { compared, disagreements } = await compareEngines(graph, inputs, engine, reference);
    expect(compared).toBeGreaterThan(3);
    expect(disagreements).toEqual([]);
  });

  it("tells where the time goes", async () => {
    await using program = makeProgram();
    const { graph, inputs } = await program.capture(feeds);
    const times = await profileOperators(graph, inputs, { engine: "onnxruntime", runs: 2, threads: 1 });
    expect(times.map(({ operator }) => operator)).toEqual(expect.arrayContaining(["matmul", "softmax", "sum"]));
    expect(times.find(({ operator }) => operator === "softmax")).toMatchObject({ kernel: "Softmax", calls: 1 });
    const seconds = times.map((time) => time.seconds);
    expect(seconds).toEqual(seconds.toSorted((a, b) => b - a));
  });
});
