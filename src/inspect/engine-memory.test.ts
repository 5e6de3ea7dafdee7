import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { input } from "../graph/leaves.js";
import { add, exp, matmul, mul, sum } from "../graph/ops/index.js";
import type { Tensor } from "../graph/tensor.js";
import { Arena } from "./arena.js";
import { engineMemory, onnxRuntimeOrder, openVinoOrder, peakBytes, planBuffers } from "./engine-memory.js";
import { inspectModel } from "./index.js";

const graph = (inputs: Readonly<Record<string, Tensor>>, outputs: Readonly<Record<string, Tensor>>) => ({
  inputs: new Map(Object.entries(inputs)),
  outputs: new Map(Object.entries(outputs)),
});
const names = (nodes: readonly { readonly op: { readonly name: string } }[]) => nodes.map(({ op }) => op.name);

describe("the order of computation", () => {
  const x = input("x", "float32", [4, 4]);
  const early = exp(x);
  const late = matmul(x, x);
  const both = graph({ x }, { y: add(early, late) });

  it("of ONNX Runtime begins with what was made last", () => {
    expect(names(onnxRuntimeOrder(both))).toEqual(["matmul", "exp", "add"]);
  });
  it("of OpenVINO begins with first operands", () => {
    expect(names(openVinoOrder(both))).toEqual(["exp", "matmul", "add"]);
  });
});

describe("buffers", () => {
  const x = input("x", "float32", [100]);
  const plan = (y: Tensor, reuse: boolean) => {
    const made = graph({ x }, { y });
    const order = onnxRuntimeOrder(made);
    return { buffers: planBuffers(made, order, { reuse, unknownSize: 1 }), steps: order.length };
  };

  it("are shared with an operand that nobody needs any more", () => {
    const { buffers, steps } = plan(sum(exp(mul(exp(x), 2))), false);
    expect(buffers.map(({ bytes }) => bytes)).toEqual([400]);
    expect(peakBytes(buffers, steps)).toBe(400);
  });

  it("with reuse are held between one value and the next of the same shape", () => {
    const square = input("s", "float32", [10, 10]);
    const first = sum(matmul(square, square)); // its product is dead before the next one is made
    const second = sum(matmul(mul(square, first), square));
    expect(plan(second, false).buffers.filter(({ bytes }) => bytes === 400).length).toBe(3);
    expect(plan(second, true).buffers.filter(({ bytes }) => bytes === 400).length).toBe(2);
  });
});

describe("the arena", () => {
  it("gives freed memory out again, joined with its neighbours", () => {
    const arena = new Arena();
    const chunks = [1, 2, 3].map(() => arena.allocate(2 ** 18));
    for (const chunk of chunks) arena.free(chunk);
    arena.free(arena.allocate(3 * 2 ** 18));
    expect(arena.touchedBytes).toBe(3 * 2 ** 18);
  });

  it("never gives the same memory to two", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 3e6 }), fc.nat(9)), { maxLength: 60 }), (requests) => {
        const arena = new Arena();
        const held: ReturnType<Arena["allocate"]>[] = [];
        for (const [bytes, which] of requests) {
          const chunk = arena.allocate(bytes);
          expect(chunk.size).toBeGreaterThanOrEqual(bytes);
          for (const other of held)
            if (other.region === chunk.region)
              expect(other.offset >= chunk.offset + chunk.size || chunk.offset >= other.offset + other.size).toBe(true);
          held.push(chunk);
          if (which < 5 && held.length > which) arena.free(held.splice(which, 1)[0] as (typeof held)[number]);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("a training process", () => {
  const config = {
    model_type: "llama",
    ...{ vocab_size: 512, hidden_size: 256, intermediate_size: 1024, num_attention_heads: 4, max_position_embeddings: 512 },
  };
  const process = (layers: number, engine: "onnxruntime" | "openvino") =>
    inspectModel({ ...config, num_hidden_layers: layers }, { batch: 32, context: 256, engine }).training;

  it.each(["onnxruntime", "openvino"] as const)("holds more than what is counted as alive, with %s", (engine) => {
    const { processBytes = 0, processBytesRecomputed = 0, weightBytes } = process(4, engine);
    expect(processBytes).toBeGreaterThan(6 * weightBytes + 100e6);
    expect(processBytesRecomputed).toBeLessThan(processBytes);
  });

  it("with many layers has room for all gradients at once", () => {
    const deep = { ...config, num_hidden_layers: 40, vocab_size: 20_000 };
    const { training } = inspectModel(deep, { batch: 1, context: 128, engine: "onnxruntime" });
    const { processBytesRecomputed = 0, secondBufferBytes, gradientBytes } = training;
    expect(processBytesRecomputed).toBeGreaterThan(2 * secondBufferBytes + gradientBytes);
  });

  it("grows evenly with layers beyond those that are traced", () => {
    const [six, eight, ten] = [6, 8, 10].map((layers) => process(layers, "openvino").processBytes as number) as [
      number,
      number,
      number,
    ];
    expect(ten - eight).toBeCloseTo(eight - six, -4);
  });

  it("is counted for known engines, when it is asked for", () => {
    expect(inspectModel({ ...config, num_hidden_layers: 1 }).training).not.toHaveProperty("processBytes");
    expect(() => process(1, "tvm" as "openvino")).toThrow(/known are onnxruntime, openvino/);
    expect(engineMemory(graph({}, {}), "onnxruntime").workingBytes).toBe(0);
  });
});
