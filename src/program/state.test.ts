import { describe, expect, it } from "vitest";
import type { Engine, EngineBuffer, LoadedModel, ModelSource } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { TsumikiError } from "../errors.js";
import { add, constant, gather, type HostArray, hostArray, mul, named, sum, type Tensor, Variable } from "../graph/index.js";
import { compile } from "./compile.js";
import { float32, int32 } from "./signature.js";
import { stateStore } from "./store.js";

const cpu = await onnxRuntimeNode({ threads: 1 });
const reference = referenceEngine();
const engines: readonly (readonly [string, Engine])[] = [
  ["onnxruntime", cpu],
  ["reference", reference],
];

const vector = (...values: number[]): HostArray<"float32"> => hostArray("float32", [values.length], Float32Array.from(values));
const variableOf = (name: string, ...values: number[]): Variable =>
  new Variable([values.length], { name, initializer: () => Float32Array.from(values) });
const valuesOf = async (variable: Variable): Promise<number[]> => Array.from((await variable.read()).data as Float32Array);

/** The body of a program that does nothing else. */
function assigns(variable: Variable, value: Tensor): Record<never, Tensor> {
  variable.assign(value);
  return {};
}

/** An engine that fails in its runs, after some work, while it is told to. */
function unreliable(engine: Engine): { readonly engine: Engine; broken: boolean } {
  const wrapper = {
    broken: false,
    engine: new Proxy(engine, {
      get(target, key) {
        if (key === "load")
          return async (source: ModelSource): Promise<LoadedModel> => {
            const model = await target.load(source);
            return {
              async run(inputs, outputs) {
                const produced = await model.run(inputs, outputs);
                if (wrapper.broken) throw new TsumikiError("ENGINE", "The device was lost.");
                return produced;
              },
              release: () => model.release(),
            };
          };
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
  };
  return wrapper;
}

describe.each(engines)("state on %s", (_, engine) => {
  it("changes when a run has succeeded; in the run every read sees the old value", async () => {
    const [a, b] = [variableOf("a", 1, 2), variableOf("b", 10, 20)];
    await using swap = compile(
      () => {
        a.assign(b);
        const sumOfOld = add(a, b);
        b.assign(a);
        return { sumOfOld, a, doubled: mul(a, 2) };
      },
      {},
      { engine },
    );
    const first = await swap({});
    expect([...first.sumOfOld.toNumbers()]).toEqual([11, 22]);
    expect([...first.a.toNumbers()]).toEqual([1, 2]);
    expect([...first.doubled.toNumbers()]).toEqual([2, 4]);
    expect(await valuesOf(a)).toEqual([10, 20]);
    expect(await valuesOf(b)).toEqual([1, 2]);
    await swap({});
    await swap({});
    expect(await valuesOf(a)).toEqual([10, 20]);
  });

  it("takes values that do not depend on the old one, and several from one tensor", async () => {
    const [a, b] = [variableOf("a", 1, 2), variableOf("b", 3, 4)];
    await using program = compile(
      ({ x }) => {
        const y = mul(x, 2);
        a.assign(y);
        b.assign(y);
        return { y };
      },
      { x: float32(2) },
      { engine },
    );
    for (const factor of [1, 5]) {
      expect([...(await program({ x: [factor, 3 * factor] })).y.toNumbers()]).toEqual([2 * factor, 6 * factor]);
      expect([await valuesOf(a), await valuesOf(b)]).toEqual([
        [2 * factor, 6 * factor],
        [2 * factor, 6 * factor],
      ]);
    }
  });

  it("is shared by all programs of a variable", async () => {
    const weight = variableOf("weight", 1, 1);
    await using train = compile(({ x }) => assigns(weight, add(weight, x)), { x: float32(2) }, { engine });
    await using evaluate = compile(() => ({ weight, total: sum(weight) }), {}, { engine });
    await train({ x: [1, 2] });
    expect((await evaluate({})).total.item()).toBe(5);
    await train({ x: [1, 2] });
    expect((await evaluate({})).total.item()).toBe(8);
    weight.write(vector(0, 0));
    expect((await evaluate({})).total.item()).toBe(0);
    await train({ x: [1, 2] });
    expect(await valuesOf(weight)).toEqual([1, 2]);
  });

  it("stays as it was when a run fails", async () => {
    const [count, weight] = [variableOf("count", 0), variableOf("weight", 5, 6)];
    const device = unreliable(engine);
    await using program = compile(
      ({ factor }) => {
        count.assign(add(count, 1));
        weight.assign(mul(weight, factor));
        return { before: weight };
      },
      { factor: float32() },
      { engine: device.engine },
    );
    await program({ factor: 2 });
    device.broken = true;
    for (let i = 0; i < 2; i++) {
      await expect(program({ factor: 3 })).rejects.toMatchObject({ code: "ENGINE" });
      expect(await valuesOf(count)).toEqual([1]);
      expect(await valuesOf(weight)).toEqual([10, 12]);
    }
    device.broken = false;
    expect([...(await program({ factor: 10 })).before.toNumbers()]).toEqual([10, 12]);
    expect(await valuesOf(count)).toEqual([2]);
    expect(await valuesOf(weight)).toEqual([100, 120]);
    expect(program.count).toBe(2);
  });

  it("stays as it was when the caller refuses the results, or fails over them", async () => {
    const count = variableOf("count", 0);
    await using program = compile(
      ({ by }) => {
        const next = add(count, by);
        count.assign(next);
        return { next: sum(next) };
      },
      { by: float32() },
      { engine },
    );
    const seen: number[] = [];
    const refuse = { commit: ({ next }: { next: { item(): number } }) => seen.push(next.item()) < 0 };
    expect((await program({ by: 3 }, refuse)).next.item()).toBe(3);
    expect((await program({ by: 4 }, refuse)).next.item()).toBe(4);
    expect(seen).toEqual([3, 4]);
    expect(await valuesOf(count)).toEqual([0]);
    const fail = () => {
      throw new RangeError("no such step");
    };
    await expect(program({ by: 5 }, { commit: fail })).rejects.toThrow(RangeError);
    expect(await valuesOf(count)).toEqual([0]);
    expect((await program({ by: 1 }, { commit: () => true })).next.item()).toBe(1);
    expect(await valuesOf(count)).toEqual([1]);
  });

  it("queues calls: none sees a state that another is changing", async () => {
    const count = variableOf("count", 0);
    await using increment = compile(({ by }) => assigns(count, add(count, by)), { by: float32() }, { engine });
    await using read = compile(() => ({ count }), {}, { engine });
    const calls = Array.from({ length: 10 }, (_, i) => [increment({ by: i + 1 }), read({})] as const);
    const counts = await Promise.all(calls.map(async ([, reading]) => [...(await reading).count.toNumbers()]));
    expect(counts).toEqual(Array.from({ length: 10 }, (_, i) => [((i + 1) * (i + 2)) / 2]));
    expect(await valuesOf(count)).toEqual([55]);
  });

  it("gives out copies", async () => {
    const weight = variableOf("weight", 1, 2);
    await using program = compile(
      ({ x }) => {
        weight.assign(add(weight, x));
        return { weight, x };
      },
      { x: float32(2) },
      { engine },
    );
    const x = vector(1, 1);
    const first = await program({ x });
    for (const array of [first.weight, first.x, await weight.read()]) (array.data as Float32Array).fill(99);
    expect(x.data).toEqual(Float32Array.of(1, 1));
    const second = await program({ x });
    expect([...second.weight.toNumbers()]).toEqual([2, 3]);
    expect(first.weight.data).toEqual(Float32Array.of(99, 99));
    expect(await valuesOf(weight)).toEqual([3, 4]);
  });

  it("does not take an older value for a newer one that was written while the older was being fetched", async () => {
    const weight = variableOf("weight", 0);
    let answer = () => {};
    const fetched = new Promise<void>((resolve) => {
      answer = resolve;
    });
    let asked = () => {};
    const asking = new Promise<void>((resolve) => {
      asked = resolve;
    });
    weight.moveTo({
      async read() {
        asked();
        await fetched;
        return vector(1);
      },
    });
    await using program = compile(() => ({ weight }), {}, { engine });
    const first = program({});
    await asking;
    weight.write(vector(2));
    answer();
    expect([1, 2]).toContain((await first).weight.item());
    expect((await program({})).weight.item()).toBe(2);
  });

  it("goes back to host memory when a store releases it", async () => {
    const weight = variableOf("weight", 1, 2);
    await using program = compile(() => assigns(weight, mul(weight, 2)), {}, { engine });
    await program({});
    await stateStore(engine).release([weight, variableOf("never used", 1)]);
    expect(weight.hostValue().data).toEqual(Float32Array.of(2, 4));
    await program({});
    expect(await valuesOf(weight)).toEqual([4, 8]);
  });
});

describe("state", () => {
  it("is handed from engine to engine", async () => {
    const count = variableOf("count", 1);
    const programs = engines.map(([, engine], i) =>
      compile(
        () => {
          count.assign(add(mul(count, 2), i));
          return { count };
        },
        {},
        { engine },
      ),
    );
    const seen: number[] = [];
    for (const which of [0, 1, 1, 0, 0, 1]) seen.push((await (programs[which] as (typeof programs)[0])({})).count.item());
    expect(seen).toEqual([1, 2, 5, 11, 22, 44]);
    expect(await valuesOf(count)).toEqual([89]);
    for (const program of programs) await program.release();
    expect(await valuesOf(count)).toEqual([89]);
  });

  it("refuses a second assignment, another shape or dtype, and one outside of a program, by the variable's name", () => {
    const weight = variableOf("layers.0.weight", 1, 2);
    const assigning = (fn: () => void) => () =>
      compile(
        () => {
          fn();
          return {};
        },
        {},
        { engine: reference },
      );
    expect(
      assigning(() => {
        weight.assign(mul(weight, 2));
        weight.assign(mul(weight, 3));
      }),
    ).toThrow(expect.objectContaining({ code: "STATE", message: expect.stringMatching(/layers\.0\.weight.*twice/) }));
    expect(assigning(() => weight.assign(constant([1, 2, 3])))).toThrow(
      expect.objectContaining({ code: "SHAPE", message: expect.stringMatching(/layers\.0\.weight float32\[2\].*\[3\]/) }),
    );
    expect(assigning(() => weight.assign(constant([1, 2], "int32")))).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/layers\.0\.weight float32\[2\].*int32/) }),
    );
    expect(() => weight.assign(weight)).toThrow(expect.objectContaining({ code: "TRACE" }));
    expect(weight.version).toBe(0);
  });

  it("is kept without filling memory by an engine that gives back buffers of its own", async () => {
    const alive = new Set<EngineBuffer>();
    const keeping = async (buffer: Promise<EngineBuffer>) => {
      alive.add(await buffer);
      return buffer;
    };
    const engine: Engine = {
      ...{ name: "own buffers", device: "cpu", version: "", threads: 1, lowering: reference.lowering },
      allocate: (...given) => keeping(reference.allocate(...given)),
      upload: (array) => keeping(reference.upload(array)),
      write: (...given) => reference.write(...given),
      read: (buffer) => reference.read(buffer),
      async release(buffer) {
        expect(alive.delete(buffer)).toBe(true); // once each
        await reference.release(buffer);
      },
      async load(source) {
        const model = await reference.load(source);
        return {
          async run(inputs, outputs) {
            const produced = await model.run(inputs, new Map([...outputs.keys()].map((name) => [name, undefined])));
            for (const buffer of produced.values()) alive.add(buffer);
            return produced;
          },
          release: () => model.release(),
        };
      },
      beforeClose: () => undefined,
      close: () => reference.close(),
    };
    const count = variableOf("count", 0);
    await using program = compile(() => assigns(count, add(count, 1)), {}, { engine });
    const fail = () => {
      throw new RangeError();
    };
    await program({});
    const before = alive.size;
    for (let i = 0; i < 3; i++) {
      await program({});
      await program({}, { commit: () => false });
      await expect(program({}, { commit: fail })).rejects.toThrow(RangeError);
    }
    expect(alive.size).toBe(before);
    expect(await valuesOf(count)).toEqual([4]);
  });

  it("survives what an engine refuses while it runs", async () => {
    const [count, table] = [variableOf("count", 0), variableOf("table", 5, 6)];
    await using program = compile(
      ({ index }) => {
        count.assign(add(count, 1));
        table.assign(mul(table, sum(gather(table, index))));
        return {};
      },
      { index: int32(1) },
      { engine: cpu },
    );
    await program({ index: [0] });
    await expect(program({ index: [7] })).rejects.toMatchObject({ code: "ENGINE", message: expect.stringMatching(/gather/) });
    expect([await valuesOf(count), await valuesOf(table)]).toEqual([[1], [25, 30]]);
    await program({ index: [1] });
    expect([await valuesOf(count), await valuesOf(table)]).toEqual([[2], [750, 900]]);
  });

  it("does not change when a program only looks for what is not finite", async () => {
    const count = variableOf("count", 1);
    await using program = compile(() => assigns(count, named("next", add(count, 1))), {}, { engine: cpu });
    expect(await program.firstNotFinite({})).toBeUndefined();
    expect(await valuesOf(count)).toEqual([1]);
    expect(program.count).toBe(0);
  });

  it("keeps the value of a variable that nobody else holds when the program that made it is released", async () => {
    const weight = variableOf("weight", 1);
    const program = compile(() => assigns(weight, add(weight, 1)), {}, { engine: cpu });
    await program({});
    await program.release();
    expect(await valuesOf(weight)).toEqual([2]);
    await using next = compile(() => ({ weight }), {}, { engine: cpu });
    expect((await next({})).weight.item()).toBe(2);
  });
});
