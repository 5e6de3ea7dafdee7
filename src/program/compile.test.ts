import { describe, expect, it } from "vitest";
import type { Engine } from "../engine/engine.js";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { add, crossEntropy, isTraining, mean, mul, named, type ResultArray, sum, type Tensor, Variable } from "../graph/index.js";
import { BLOCK } from "../nn/attention-blocks.js";
import { attend, causal, Linear, Module, mergeHeads, splitHeads } from "../nn/index.js";
import { AdamW } from "../optim/adamw.js";
import { compile } from "./compile.js";
import { float32, int32 } from "./signature.js";

const cpu = await onnxRuntimeNode({ threads: 1 });
const reference = referenceEngine();

/** An engine that counts the models which it has been given and which have gone. */
function counting(engine: Engine) {
  const counts = { loaded: 0, released: 0 };
  const counted = new Proxy(engine, {
    get(target, key) {
      if (key === "load")
        return async (...source: Parameters<Engine["load"]>) => {
          const model = await target.load(...source);
          counts.loaded++;
          return {
            run: model.run.bind(model),
            async release() {
              counts.released++;
              await model.release();
            },
          };
        };
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { counts, engine: counted };
}

const ones = (count: number): number[] => Array<number>(count).fill(1);

/** A program that counts what it is fed with. */
function counter(options: { readonly engine: Engine; readonly cacheSize?: number }) {
  const total = new Variable([], { name: "total" });
  const program = compile(
    ({ x }) => {
      total.assign(add(total, sum(x)));
      return { total };
    },
    { x: float32("n") },
    options,
  );
  const count = async () => Number((await total.read()).data[0]);
  return { program, count };
}

describe("a compiled function", () => {
  it("without updates is one model for all sizes", async () => {
    const { counts, engine } = counting(reference);
    await using program = compile(({ x }) => ({ total: sum(x) }), { x: float32("n") }, { engine });
    for (const size of [3, 1, 0, 8]) expect((await program({ x: ones(size) })).total.item()).toBe(size);
    expect(counts).toEqual({ loaded: 1, released: 0 });
    expect(program.count).toBe(4);
    expect(program.statistics.runs).toBe(4);
  });

  it("with updates, or when asked to, is one model for each size, and sees it as a number", async () => {
    const { counts, engine } = counting(reference);
    const { program, count } = counter({ engine });
    for (const size of [3, 1, 3, 8, 1]) await program({ x: ones(size) });
    expect(counts.loaded).toBe(3);
    expect(await count()).toBe(16);

    const sizes: unknown[] = [];
    const look = ({ x }: { readonly x: Tensor }) => {
      sizes.push(typeof x.size(0) === "number" ? x.size(0) : "symbolic");
      return { total: sum(x) };
    };
    const specialized = compile(look, { x: float32("n") }, { engine: reference, specialize: true });
    expect(sizes).toEqual([]);
    for (const size of [2, 5, 2]) await specialized({ x: ones(size) });
    expect(sizes).toEqual([2, 5]);
    expect(() => specialized.toString()).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });

  it("can be kept symbolic although it has updates", async () => {
    const { counts, engine } = counting(cpu);
    const total = new Variable([], { name: "total" });
    await using program = compile(
      ({ x }) => {
        total.assign(add(total, sum(x)));
        return {};
      },
      { x: float32("n") },
      { engine, specialize: false },
    );
    for (const size of [3, 1, 0]) await program({ x: ones(size) });
    expect(counts.loaded).toBe(1);
    expect((await total.read()).data).toEqual(Float32Array.of(4));
  });

  it("keeps the variants used last, and releases the others", async () => {
    const { counts, engine } = counting(reference);
    const { program, count } = counter({ engine, cacheSize: 2 });
    for (const size of [1, 2, 1]) await program({ x: ones(size) });
    expect(counts).toEqual({ loaded: 2, released: 0 });
    await program({ x: ones(3) }); // 2 goes, not 1
    expect(counts).toEqual({ loaded: 3, released: 1 });
    await program({ x: ones(1) });
    expect(counts).toEqual({ loaded: 3, released: 1 });
    await program({ x: ones(2) }); // 3 goes
    expect(counts).toEqual({ loaded: 4, released: 2 });
    await program.release();
    expect(counts).toEqual({ loaded: 4, released: 4 });
    expect(await count()).toBe(10);
    expect(() => counter({ engine, cacheSize: 0 })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });

  it("runs what is called at once, even with more sizes than it keeps", async () => {
    const { counts, engine } = counting(reference);
    const { program, count } = counter({ engine, cacheSize: 1 });
    await Promise.all([1, 2, 3, 2, 1].map((size) => program({ x: ones(size) })));
    expect(await count()).toBe(9);
    await program.release();
    expect(counts.released).toBe(counts.loaded);
  });

  it("is compiled once when it is called many times at once", async () => {
    const { counts, engine } = counting(cpu);
    await using program = compile(({ x }) => ({ total: sum(x) }), { x: float32("n") }, { engine });
    await Promise.all(Array.from({ length: 5 }, () => program({ x: [1] })));
    expect(counts.loaded).toBe(1);
  });

  it("ends calls that were made before its release, and refuses those after", async () => {
    const { program, count } = counter({ engine: cpu });
    const before = program({ x: ones(2) });
    const released = program.release();
    await expect(program({ x: ones(4) })).rejects.toMatchObject({ code: "RELEASED" });
    await Promise.all([before, released]);
    await expect(program({ x: ones(2) })).rejects.toMatchObject({ code: "RELEASED" });
    await expect(program.prepare({ x: ones(2) })).rejects.toMatchObject({ code: "RELEASED" });
    await expect(program.firstNotFinite({ x: ones(2) })).rejects.toMatchObject({ code: "RELEASED" });
    expect(await count()).toBe(2);
    await program.release();
  });

  it("can be compiled before it is needed", async () => {
    const { counts, engine } = counting(cpu);
    await using program = compile(({ x }) => ({ total: sum(x) }), { x: float32("n") }, { engine });
    await program.prepare({ x: ones(2) });
    expect(counts.loaded).toBe(1);
    expect(program.count).toBe(0);
    const { compileSeconds } = program.statistics;
    expect(compileSeconds).toBeGreaterThan(0);
    await program({ x: ones(3) });
    expect(counts.loaded).toBe(1);
    expect(program.statistics.compileSeconds).toBe(compileSeconds);
    expect(program.statistics.totalSeconds).toBeGreaterThanOrEqual(program.statistics.engineSeconds);
  });

  it("tries again after a compilation that failed", async () => {
    let broken = true;
    const engine = new Proxy(reference, {
      get(target, key) {
        if (key === "load" && broken) return () => Promise.reject(new Error("no memory left"));
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await using program = compile(({ x }) => ({ total: sum(x) }), { x: float32("n") }, { engine });
    await expect(program({ x: ones(2) })).rejects.toThrow("no memory left");
    broken = false;
    expect((await program({ x: ones(2) })).total.item()).toBe(2);
  });

  it("without an engine fails when it is called, and can be released", async () => {
    const engine = Promise.reject<Engine>(new Error("absent"));
    await using program = compile(() => ({}), {}, { engine });
    await expect(program({})).rejects.toThrow("absent");
  });

  it("is not run when its signal was aborted", async () => {
    const { program, count } = counter({ engine: cpu });
    const controller = new AbortController();
    await program({ x: ones(1) }, { signal: controller.signal });
    const running = program({ x: ones(2) }, { signal: controller.signal });
    const queued = program({ x: ones(4) }, { signal: controller.signal });
    controller.abort(new Error("enough"));
    for (const call of [running, queued, program({ x: ones(8) }, { signal: controller.signal })])
      await expect(call).rejects.toMatchObject({ code: "ABORTED", cause: new Error("enough") });
    expect(await count()).toBe(1);
    await program.release();
  });

  it("trains when it assigns something, unless told otherwise", async () => {
    const variable = new Variable([], { name: "v" });
    const seen: boolean[] = [];
    const program = (assigns: boolean, training?: boolean) => {
      seen.length = 0;
      compile(
        () => {
          seen.push(isTraining());
          if (assigns) variable.assign(add(variable, 1));
          return {};
        },
        {},
        { engine: reference, ...(training === undefined ? {} : { training }) },
      );
      return seen.at(-1);
    };
    expect([program(false), program(true)]).toEqual([false, true]);
    expect([program(false, true), program(true, false)]).toEqual([true, false]);
  });

  it("prints as its graph", () => {
    const weight = new Variable([3], { name: "weight" });
    const program = compile(({ x }) => ({ y: mul(x, weight) }), { x: float32("batch", 3) }, { engine: reference });
    expect(String(program)).toMatch(/input \S*x \[batch, 3\] float32\n.*weight \[3\] float32\n.*mul.*\nreturn \S*y = /);
  });
});

/** One layer whose attention can be done in blocks, with a loss over classes. */
class Classifier extends Module {
  readonly embed = new Linear(4, 8, { bias: false });
  readonly layers = [new Layer(), new Layer()];
  readonly head = new Linear(8, 3);

  forward(x: Tensor): Tensor {
    return this.head.forward(this.layers.reduce((h, layer) => layer.forward(h), this.embed.forward(x)));
  }
}

class Layer extends Module {
  readonly attention = new Attention();

  forward(x: Tensor): Tensor {
    return add(x, named("attended", this.attention.forward(x)));
  }
}

class Attention extends Module {
  readonly qkv = [new Linear(8, 8), new Linear(8, 8), new Linear(8, 8)] as const;

  forward(x: Tensor): Tensor {
    const [q, k, v] = this.qkv.map((linear) => splitHeads(linear.forward(x), 4)) as [Tensor, Tensor, Tensor];
    return mergeHeads(attend(q, k, v, { mask: causal }));
  }
}

const rows = (batch: number, seq: number, width: number): number[][][] =>
  Array.from({ length: batch }, (_, b) =>
    Array.from({ length: seq }, (_, t) => Array.from({ length: width }, (_, i) => Math.sin(1 + 7 * b + 3 * t + i))),
  );

function expectClose(actual: ResultArray, expected: ResultArray, tolerance: number): void {
  expect(actual.shape).toEqual(expected.shape);
  const [a, b] = [actual.toNumbers(), expected.toNumbers()];
  expect(Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))))).toBeLessThan(tolerance);
}

describe("values inside", () => {
  const model = new Classifier().initialize(3);
  const look = compile(({ x }) => ({ logits: model.forward(x) }), { x: float32("batch", "seq", 4) }, { engine: cpu });
  const x = rows(2, 5, 4);

  it("have names that do not change from trace to trace, each once", () => {
    expect(look.names).toEqual([...new Set(look.names)]);
    expect(look.names).toContain("layers.1.attention.weights");
    expect(look.names).toContain("layers.0.attended");
    expect(look.names).toContain("head.output");
    const twice = compile(({ x: y }) => ({ a: model.forward(y), b: model.forward(y) }), { x: float32(1, 2, 4) }, { engine: cpu });
    expect(twice.names).toEqual([...look.names, ...look.names.map((name) => `${name}#2`)]);
  });

  it("can be fetched by name and by pattern, and the results stay the same", async () => {
    const plain = await look({ x });
    expect(Object.keys(plain)).toEqual(["logits"]);
    const { logits, inside } = await look({ x }, { fetch: ["layers.*.attention.weights", "embed.output"] });
    expect(Object.keys(inside).sort()).toEqual(["embed.output", "layers.0.attention.weights", "layers.1.attention.weights"]);
    expect(logits).toEqual(plain.logits);
    const weights = inside["layers.1.attention.weights"] as ResultArray;
    expect(weights.shape).toEqual([2, 2, 5, 5]);
    const values = weights.toNumbers();
    for (let row = 0; row < 20; row++) {
      const shares = values.subarray(5 * row, 5 * row + 5);
      expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      expect(shares.subarray((row % 5) + 1).every((share) => share === 0)).toBe(true);
    }
    expect(Object.keys((await look({ x }, { fetch: ["**"] })).inside).sort()).toEqual([...look.names].sort());
    expect(Object.keys((await look({ x }, { fetch: ["*.output"] })).inside).sort()).toEqual(["embed.output", "head.output"]);
  });

  it("can be fetched where attention otherwise runs in blocks", async () => {
    const optimizer = new AdamW(model, { weightDecay: 0 });
    const long = rows(1, BLOCK + 3, 4);
    const labels = long.map((row) => row.map((_, t) => t % 3));
    await using step = compile(
      ({ x: inputs, labels }) => {
        const loss = crossEntropy(model.forward(inputs), labels);
        const { gradientNorm } = optimizer.update(loss, { learningRate: 0 });
        return { loss, gradientNorm };
      },
      { x: float32("batch", "seq", 4), labels: int32("batch", "seq") },
      { engine: cpu },
    );
    const blocks = await step({ x: long, labels });
    const fetch = ["layers.*.attention.weights"];
    const whole = await step({ x: long, labels }, { fetch });
    expect(whole.loss.item()).toBeCloseTo(blocks.loss.item(), 6);
    expect(whole.gradientNorm.item()).toBeCloseTo(blocks.gradientNorm.item(), 5);
    const { inside } = await look({ x: long }, { fetch });
    expect(Object.keys(whole.inside)).toEqual(Object.keys(inside));
    for (const [name, weights] of Object.entries(inside)) expectClose(whole.inside[name] as ResultArray, weights, 1e-6);
  });

  it("that do not exist are an error that lists those which do", async () => {
    await expect(look({ x }, { fetch: ["layers.*.weights"] })).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringMatching(/'layers\.\*\.weights'.*can be fetched: .*layers\.0\.attention\.weights/),
    });
    expect((await look({ x })).logits.shape).toEqual([2, 5, 3]);
  });
});

describe("mistakes while tracing", () => {
  const traced = (fn: (x: Tensor) => unknown) => () =>
    compile(({ x }) => fn(x) as { readonly y: Tensor }, { x: float32("n") }, { engine: reference });

  it.each<[string, (x: Tensor) => unknown, RegExp]>([
    [
      "a condition on numbers",
      (x) => ((x as unknown as number) > 0 ? { y: x } : { y: mul(x, 2) }),
      /tensor \(.*float32\[n\]\).*condition/,
    ],
    ["arithmetic of JavaScript", (x) => ({ y: (x as unknown as number) * 2 }), /used as a number/],
    ["a text", (x) => ({ [`${x}`]: x }), /used as a number, a string/],
    [
      "a symbolic size as a number",
      (x) => ({ y: mul(x, (x.size(0) as number) / 2) }),
      /`n` is symbolic.*cannot be used as a number/,
    ],
    ["no result", () => undefined, /returns tensors by name/],
    ["a tensor without a name", (x) => x, /returns tensors by name.*a tensor was returned/],
    ["a number as a result", () => ({ y: 1 }), /'y' is number/],
    ["null as a result", () => ({ y: null }), /'y' is null/],
    ["an async function", async (x) => ({ y: x }), /must not be async/],
    ["a program inside of another", (x) => ({ y: x, ...compile(() => ({}), {}) }), /traced inside another/],
  ])("%s", (_, fn, message) => {
    expect(traced(fn)).toThrow(expect.objectContaining({ code: "TRACE", message: expect.stringMatching(message) }));
    expect(traced((x) => ({ y: x }))).not.toThrow(); // nothing is left behind
  });

  it("a result called inside, and a tensor of another program", async () => {
    expect(traced((x) => ({ inside: x }))).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    const inputs: Tensor[] = [];
    compile(
      ({ x }) => {
        inputs.push(x);
        return {};
      },
      { x: float32("n") },
      { engine: reference },
    );
    const program = compile(({ x }) => ({ y: sum(x), z: inputs[0] as Tensor }), { x: float32("n") }, { engine: cpu });
    await expect(program({ x: [1] })).rejects.toMatchObject({
      code: "TRACE",
      message: expect.stringMatching(/not one of its inputs/),
    });
  });

  it("name the operator, the shapes, the module, the parameter, and the line", () => {
    class Bottom extends Module {
      readonly narrow = new Linear(3, 2);
      forward(x: Tensor): Tensor {
        return this.narrow.forward(x); // x is too wide
      }
    }
    class Middle extends Module {
      readonly blocks = [new Bottom()];
      forward(x: Tensor): Tensor {
        return this.blocks.reduce((h, block) => block.forward(h), x);
      }
    }
    class Top extends Module {
      readonly body = new Middle();
      forward(x: Tensor): Tensor {
        return mean(this.body.forward(x));
      }
    }
    const model = new Top();
    let error: Error | undefined;
    try {
      compile(({ x }) => ({ y: model.forward(x) }), { x: float32("batch", 5) }, { engine: reference });
    } catch (thrown) {
      error = thrown as Error;
    }
    expect(error).toMatchObject({ code: "SHAPE" });
    expect(error?.message).toMatch(/^matmul: .*5 and 3/);
    expect(error?.message).toContain("'x' float32[batch, 5]");
    expect(error?.message).toContain("body.blocks.0.narrow.weight float32[2, 3]");
    expect(error?.message).toContain("in module: body.blocks.0.narrow");
    for (const frame of ["Bottom.forward", "Middle.forward", "Top.forward"])
      expect(error?.stack).toMatch(new RegExp(`${frame.replace(".", "\\.")}.*compile\\.test\\.ts`));
  });

  it("show where they are made, in a method of the user's own", () => {
    const lineOf = (fn: () => unknown): string => {
      try {
        fn();
      } catch (error) {
        return ((error as Error).stack ?? "").split("\n").find((line) => line.includes("compile.test.ts")) ?? "";
      }
      return "";
    };
    const here = lineOf(() => {
      throw new Error();
    });
    const line = Number(/test\.ts:(\d+)/.exec(here)?.[1]);
    const there = lineOf(() => compile(({ x, y }) => ({ z: x.add(y) }), { x: float32(2), y: float32(3) }, { engine: reference }));
    expect(Number(/test\.ts:(\d+)/.exec(there)?.[1])).toBe(line + 3);
  });
});
