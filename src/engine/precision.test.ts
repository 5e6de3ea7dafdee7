import { describe, expect, it, vi } from "vitest";
import { nodesOf, type Pass, rewriteGraph } from "../graph/graph.js";
import { matmul, mean, mul } from "../graph/ops/index.js";
import { makeNode } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { compile, float32 } from "../program/index.js";
import type { Engine } from "./engine.js";
import { onnxRuntimeNode } from "./onnxruntime/node.js";
import { choosePrecision } from "./precision.js";
import { referenceEngine } from "./reference/engine.js";

const refusal = (message: RegExp) => expect.objectContaining({ code: "PRECISION", message: expect.stringMatching(message) });

/** The reference engine under other circumstances. */
const changed = (changes: Partial<Engine>): Engine => {
  const engine = referenceEngine();
  return new Proxy(engine, {
    get(target, key) {
      if (key in changes) return changes[key as keyof Engine];
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
};

/** What becomes of a program on a processor without bfloat16. */
const withoutBfloat16: Pass = (graph) =>
  rewriteGraph(graph, ({ op, outputs, attributes, scope }, inputs) => {
    if (outputs[0]?.dtype !== "bfloat16") return undefined;
    const inFloat32 = outputs.map(({ shape }) => ({ shape, dtype: "float32" as const }));
    return makeNode(op, inputs, op.name === "cast" ? { dtype: "float32" } : attributes, inFloat32, scope).outputs;
  });

describe("choosePrecision", () => {
  it("asks nothing of an engine for fp32", async () => {
    const load = vi.fn<Engine["load"]>();
    expect(await choosePrecision(changed({ load }), "fp32")).toBe("fp32");
    expect(load).not.toHaveBeenCalled();
  });

  it("takes bf16 where it is asked for and there, and fp32 for auto where bf16 is no faster", async () => {
    const engine = referenceEngine();
    expect(await choosePrecision(engine, "bf16")).toBe("bf16");
    expect(await choosePrecision(engine, "auto")).toBe("fp32");
  });

  it("takes bf16 for auto where products are faster in it, and finds out once", async () => {
    const plain = referenceEngine();
    const seconds = { float32: 0.02, bfloat16: 0.002 };
    let loads = 0;
    const engine = changed({
      async load(source) {
        loads++;
        const model = await plain.load(source);
        const wait =
          seconds[
            nodesOf(source.graph.outputs.values()).some(({ outputs }) => outputs[0]?.dtype === "bfloat16")
              ? "bfloat16"
              : "float32"
          ];
        return {
          release: () => model.release(),
          async run(_inputs, outputs) {
            await new Promise((resume) => setTimeout(resume, wait * 1000));
            const sum = source.graph.inputs.get("x")?.shape[0] as number;
            const value = { dtype: "float32", shape: [], data: Float32Array.of(sum ** 2) } as const;
            return new Map([...outputs.keys()].map((name) => [name, value]));
          },
        };
      },
      read: async (buffer) => buffer as never,
      upload: async (array) => array,
      release: async () => {},
    });
    const choices = await Promise.all([choosePrecision(engine, "auto"), choosePrecision(engine, "auto")]);
    expect(choices).toEqual(["bf16", "bf16"]);
    const before = loads;
    expect(await choosePrecision(engine, "bf16")).toBe("bf16");
    expect(loads).toBe(before);
  });

  it("says what to install where a CPU's engine has no bfloat16, and takes fp32 for auto", async () => {
    const engine = await onnxRuntimeNode({ threads: 1 });
    await expect(choosePrecision(engine, "bf16")).rejects.toThrow(
      refusal(/onnxruntime-node .* on cpu does not train in it\. .*pip install openvino/),
    );
    expect(await choosePrecision(engine, "auto")).toBe("fp32");
    await engine.close();
  });

  it("refuses bf16 where products that are told in it would be computed in float32", async () => {
    const plain = referenceEngine();
    const engine = changed({
      load: (source) => plain.load({ ...source, graph: withoutBfloat16(source.graph) }),
      upload: (array) => plain.upload(array),
      read: (buffer) => plain.read(buffer),
      release: (buffer) => plain.release(buffer),
    });
    await expect(choosePrecision(engine, "bf16")).rejects.toThrow(
      refusal(
        /^The precision bf16 was asked for, but this processor has no bfloat16: reference float64 would multiply in float32\./,
      ),
    );
    expect(await choosePrecision(engine, "auto")).toBe("fp32");
  });

  it("refuses bf16 on graphics cards, whatever they can", async () => {
    const engine = changed({ name: "onnxruntime-node", device: "webgpu" });
    await expect(choosePrecision(engine, "bf16")).rejects.toThrow(refusal(/On this device choose fp32, or auto/));
    expect(await choosePrecision(engine, "auto")).toBe("fp32");
  });
});

describe("compile with a precision", () => {
  /** 20 steps towards w = 2, by gradients of mean((x·w − 2x)²). */
  async function train(engine: Engine, precision: "fp32" | "bf16") {
    const w = new Parameter([1, 1]);
    const step = compile(
      ({ x }) => {
        const error = matmul(x, w).sub(mul(x, 2));
        const slope = mean(mul(error, x)).reshape([1, 1]);
        w.assign(w.sub(mul(slope, 0.3)));
        return { loss: mean(mul(error, error)) };
      },
      { x: float32("rows", 1) },
      { engine, precision },
    );
    const x = Float32Array.from([1.01, -0.67, 0.33, -1.9]);
    const losses = [];
    for (let i = 0; i < 20; i++) losses.push((await step({ x: { dtype: "float32", shape: [4, 1], data: x } })).loss.item());
    return { losses, weight: await w.read() };
  }

  it("trains in bfloat16 with float32 weights", async () => {
    const [wide, narrow] = [await train(referenceEngine(), "fp32"), await train(referenceEngine(), "bf16")];
    expect(narrow.losses[1]).not.toBe(wide.losses[1]);
    expect(narrow.losses.at(-1)).toBeLessThan((narrow.losses[0] as number) / 1000);
    expect(narrow.weight).toMatchObject({ dtype: "float32" });
    expect(narrow.weight.data[0]).toBeCloseTo(2, 1);
  });

  it("fails at the first call where the engine cannot", async () => {
    const engine = await onnxRuntimeNode({ threads: 1 });
    await expect(train(engine, "bf16")).rejects.toThrow(refusal(/bf16 was asked for/));
    await engine.close();
  });
});
