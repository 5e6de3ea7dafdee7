/** What happens while a run is under way: writes of the host, reads, other engines, changed feeds, the end of the engine. */

import { describe, expect, it } from "vitest";
import type { Engine } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { slowEngine } from "../engine/testing/slow-engine.js";
import { inWorker } from "../engine/worker/engine.js";
import { add, hostArray, matmul, mul, type Tensor, Variable } from "../graph/index.js";
import { compile } from "./compile.js";
import { float32 } from "./signature.js";

const vector = (...values: number[]) => hostArray("float32", [values.length], Float32Array.from(values));
const variableOf = (name: string, ...values: number[]): Variable =>
  new Variable([values.length], { name, initializer: () => Float32Array.from(values) });
const valuesOf = async (variable: Variable): Promise<number[]> => Array.from((await variable.read()).data as Float32Array);

/** The body of a program that does nothing else. */
function assigns(variable: Variable, value: Tensor): Record<never, Tensor> {
  variable.assign(value);
  return {};
}

/** Doubles a variable, and gives its old value. */
const doubling = (variable: Variable, engine: Engine) =>
  compile(
    () => {
      variable.assign(mul(variable, 2));
      return { before: variable };
    },
    {},
    { engine },
  );

describe("while a run is under way", () => {
  it("a write is not lost, and what the run assigns to other variables counts", async () => {
    const slow = slowEngine(referenceEngine(), "run");
    const [weight, count] = [variableOf("weight", 1, 2), variableOf("count", 0)];
    const program = compile(
      () => {
        weight.assign(mul(weight, 2));
        count.assign(add(count, 1));
        return { before: weight };
      },
      {},
      { engine: slow.engine },
    );
    const first = program({});
    await slow.begun();
    weight.write(vector(10, 20));
    slow.letGo();
    expect([...(await first).before.toNumbers()]).toEqual([1, 2]);
    expect([await valuesOf(weight), await valuesOf(count)]).toEqual([[10, 20], [1]]);
    expect([...(await program({})).before.toNumbers()]).toEqual([10, 20]);
    expect([await valuesOf(weight), await valuesOf(count)]).toEqual([[20, 40], [2]]);
  });

  it("an update of another engine is not overwritten: one of the two calls fails, and has changed nothing", async () => {
    const slow = slowEngine(referenceEngine(), "run");
    const [weight, count] = [variableOf("weight", 1), variableOf("count", 0)];
    const program = compile(
      () => {
        count.assign(add(count, 1));
        weight.assign(add(weight, 100));
        return {};
      },
      {},
      { engine: slow.engine },
    );
    const first = program({});
    await slow.begun();
    await doubling(weight, referenceEngine())({});
    slow.letGo();
    await expect(first).rejects.toMatchObject({ code: "STATE", message: expect.stringMatching(/weight .* two engines/) });
    expect([await valuesOf(weight), await valuesOf(count)]).toEqual([[2], [0]]);
    await program({});
    expect([await valuesOf(weight), await valuesOf(count)]).toEqual([[102], [1]]);
  });

  it("a value that is being read is not written over", async () => {
    const slow = slowEngine(referenceEngine(), "read");
    const weight = variableOf("weight", 1);
    const program = compile(() => assigns(weight, mul(weight, 2)), {}, { engine: slow.engine });
    await program({});
    const reading = valuesOf(weight);
    await slow.begun();
    const runs = [program({}), program({}), program({})];
    await new Promise((resolve) => setTimeout(resolve, 20));
    slow.letGo();
    expect(await reading).toEqual([2]);
    await Promise.all(runs);
    expect(await valuesOf(weight)).toEqual([16]);
  });

  it("feeds and options may be changed: a call takes them as they were", async () => {
    const slow = slowEngine(referenceEngine(), "run");
    await using program = compile(({ x }) => ({ y: mul(x, 2) }), { x: float32("n") }, { engine: slow.engine });
    const x = vector(1, 2, 3);
    const fetch: string[] = [];
    const calls = [program({ x }), program({ x }, { fetch })];
    x.data.fill(9);
    fetch.push("nothing is called so");
    slow.letGo();
    for (const { y } of await Promise.all(calls)) expect([...y.toNumbers()]).toEqual([2, 4, 6]);
  });

  it("what the engine fails to free is the failure of the call", async () => {
    const target = referenceEngine();
    const engine = new Proxy(target, {
      get(_, key) {
        if (key === "release") return () => Promise.reject(new Error("the device was lost"));
        if (key === "load")
          // It gives buffers of its own, so the spare ones have to go.
          return async (source: Parameters<Engine["load"]>[0]) => {
            const model = await target.load(source);
            return {
              ...model,
              run: (inputs: never, outputs: Map<string, never>) =>
                model.run(inputs, new Map([...outputs.keys()].map((name) => [name, undefined]))),
            };
          };
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const weight = variableOf("weight", 1);
    const program = compile(() => assigns(weight, mul(weight, 2)), {}, { engine });
    await expect(program({})).rejects.toThrow("the device was lost");
  });
});

describe.each([
  ["reference", async () => referenceEngine()],
  ["onnxruntime", () => onnxRuntimeNode({ threads: 1 })],
  ["onnxruntime in a worker", () => inWorker({ engine: "onnxruntime", threads: 1 })],
] as const)("closing the engine %s", (_, create) => {
  it("lets calls end, keeps the newest weights, and takes no more calls", async () => {
    const engine = await create();
    const [weight, untouched] = [variableOf("weight", 1, 2), variableOf("untouched", 7)];
    const program = compile(
      () => {
        weight.assign(mul(weight, 2));
        return { untouched };
      },
      {},
      { engine },
    );
    await program({});
    const calls = [program({}), program({})];
    await Promise.resolve(); // both have found their engine
    const closing = engine.close();
    await expect(program({})).rejects.toMatchObject({ code: "RELEASED" });
    await Promise.all([...calls, closing]);
    expect([await valuesOf(weight), await valuesOf(untouched)]).toEqual([[8, 16], [7]]);
    await program.release();
    await engine.close();
    // Another engine goes on from there.
    await using next = doubling(weight, referenceEngine());
    await next({});
    expect(await valuesOf(weight)).toEqual([16, 32]);
  });
});

describe("closing an engine", () => {
  it("lets another engine end what it reads from it", async () => {
    const slow = slowEngine(referenceEngine(), "read");
    const weight = variableOf("weight", 3);
    await compile(() => assigns(weight, add(weight, 1)), {}, { engine: slow.engine })({});
    const other = doubling(weight, referenceEngine())({});
    await slow.begun();
    const closing = slow.engine.close();
    slow.letGo();
    expect((await other).before.item()).toBe(4);
    await closing;
    expect(await valuesOf(weight)).toEqual([8]);
  });

  it("leaves programs that never ran able to be released", async () => {
    const engine = referenceEngine();
    const program = doubling(variableOf("weight", 1), engine);
    await engine.close();
    await expect(program({})).rejects.toMatchObject({ code: "RELEASED" });
    await program.release();
  });

  it("says so when the weights could not be saved, and is closed all the same", async () => {
    const target = referenceEngine();
    const engine = new Proxy(target, {
      get(_, key) {
        if (key === "read") return () => Promise.reject(new Error("the device was lost"));
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const weight = variableOf("weight", 1);
    await compile(() => assigns(weight, add(weight, 1)), {}, { engine })({});
    await expect(engine.close()).rejects.toThrow("the device was lost");
    await expect(engine.allocate("float32", [1])).rejects.toMatchObject({ code: "RELEASED" });
  });
});

it("firstNotFinite looks at what ran: a product that only bfloat16 makes infinite is found", async () => {
  const engine = referenceEngine();
  await using program = compile(
    ({ x, y }) => ({ z: matmul(x, y) }),
    { x: float32(1, 1), y: float32(1, 1) },
    { engine, precision: "bf16" },
  );
  // The largest bfloat16 is 3.3895e38; what is nearer to 2^128 rounds to infinity.
  const feeds = { x: [[3.4e38]], y: [[1]] };
  expect((await program(feeds)).z.item()).toBe(Number.POSITIVE_INFINITY);
  expect(await program.firstNotFinite(feeds)).toMatchObject({ value: expect.stringMatching(/matmul/) });
});
