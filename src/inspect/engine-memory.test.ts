import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { barrier } from "../graph/barrier.js";
import { constant, input, random } from "../graph/leaves.js";
import { add, exp, greaterEqual, matmul, mul, range, relu, reshape, softmax, sum, where } from "../graph/ops/index.js";
import type { Tensor } from "../graph/tensor.js";
import { Arena } from "./arena.js";
import { engineMemory } from "./engine-memory.js";
import { inspectModel } from "./index.js";
import { onnxRuntimeOrder, onnxRuntimePlan } from "./onnxruntime-plan.js";
import { openVinoOrder, openVinoPlan } from "./openvino-plan.js";
import { type MemoryPlan, peakBytes } from "./planned-buffer.js";

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

const peakOf = ({ buffers, order }: MemoryPlan): number => peakBytes(buffers, order.length);
const sizes = ({ buffers }: MemoryPlan): readonly number[] => buffers.map(({ bytes }) => bytes);

describe("buffers of OpenVINO", () => {
  it("are shared with an operand that nobody needs any more", () => {
    const x = input("x", "float32", [100]);
    const plan = openVinoPlan(graph({ x }, { y: sum(exp(mul(exp(x), 2))) }));
    expect(sizes(plan)).toEqual([400]);
    expect(peakOf(plan)).toBe(400);
  });
});

describe("buffers of ONNX Runtime", () => {
  const x = input("x", "float32", [10, 10]);
  const planOf = (y: Tensor) => onnxRuntimePlan(graph({ x }, { y }));
  const squares = (y: Tensor) => sizes(planOf(y)).filter((bytes) => bytes === 400).length;

  it("are written over by operators whose kernels may, and by arithmetic not", () => {
    expect(squares(sum(relu(softmax(matmul(x, x)))))).toBe(1);
    expect(squares(sum(add(matmul(x, x), x)))).toBe(2);
  });

  it("are held between one value and the next of the same shape", () => {
    const first = sum(matmul(x, x)); // its product is dead before the next one is made
    const [buffer, ...others] = planOf(sum(matmul(x, mul(x, first)))).buffers.filter(({ bytes }) => bytes === 400);
    expect(others.length).toBe(1);
    expect(buffer).toMatchObject({ first: 0, last: 3 });
  });

  it("are not shared with the same number of elements in another shape", () => {
    const flat = (y: Tensor) => add(reshape(y, [100]), 1);
    expect(squares(sum(mul(flat(mul(x, sum(matmul(x, x)))), 2)))).toBe(3);
  });

  it("are not shared where sizes are computed, as behind a barrier, until what a value meets tells them", () => {
    const first = sum(matmul(x, x));
    const late = barrier(x, first);
    expect(squares(sum(matmul(x, x)))).toBe(1);
    expect(squares(sum(matmul(x, mul(x, first))))).toBe(2);
    expect(squares(sum(matmul(late, late)))).toBe(2);
    expect(squares(sum(matmul(add(late, x), x)))).toBe(2);
    expect(squares(sum(relu(matmul(late, late))))).toBe(3);
    expect(squares(sum(relu(matmul(add(late, x), x))))).toBe(2);
  });

  it("are none for what is computed when the model is loaded", () => {
    const places = range(10, "int32");
    const mask = where(greaterEqual(reshape(places, [10, 1]), places), constant(0), constant(-1));
    const plan = planOf(sum(add(x, mask)));
    expect(names(plan.order)).toEqual(["add", "sum"]);
    expect(plan.constantBytes).toBe(400);
  });
});

describe("the arena", () => {
  it("gives freed memory out again, joined with its neighbours", () => {
    const arena = new Arena();
    const chunks = [1, 2, 3].map(() => arena.allocate(2 ** 18));
    for (const chunk of chunks) arena.free(chunk);
    arena.free(arena.allocate(3 * 2 ** 18));
    expect(arena.touchedBytes).toBe(3 * 2 ** 18 + 2 ** 20 / 32); // and a handle of 8 bytes for each 256 of its first MiB
  });

  it("prefers the lowest address, which is that of the newest region", () => {
    const arena = new Arena();
    const [old, newer] = [arena.allocate(2 ** 20), arena.allocate(2 ** 21)];
    const rest = [old, newer].map(({ region }) => region);
    arena.free(old);
    arena.free(newer);
    expect(rest).toEqual([0, 1]);
    expect(arena.allocate(2 ** 20).region).toBe(0); // the smaller one
    expect(arena.allocate(2 ** 21).region).toBe(1);
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

  it("counts what the host draws as it was drawn and as the engine has it", () => {
    const x = input("x", "float32", [64, 64]);
    const kept = input("kept", "bool", [64, 64]);
    const bytes = (mask: Tensor) => engineMemory(graph({ x, kept }, { y: where(mask, x, 0) }), "openvino").workingBytes;
    expect(bytes(random.bernoulli([64, 64], 0.9)) - bytes(kept)).toBe(2 * 64 * 64);
  });

  it("is counted for known engines, when it is asked for", () => {
    expect(inspectModel({ ...config, num_hidden_layers: 1 }).training).not.toHaveProperty("processBytes");
    expect(() => process(1, "tvm" as "openvino")).toThrow(/known are onnxruntime, openvino/);
    expect(engineMemory(graph({}, {}), "onnxruntime").workingBytes).toBe(0);
  });
});
