import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Dim, symbol } from "../../graph/dim.js";
import type { Graph } from "../../graph/graph.js";
import { fromNumbers, type HostArray, toNumbers } from "../../graph/host-array.js";
import { constant, input } from "../../graph/leaves.js";
import { applyOp, type OpDefinition, operator } from "../../graph/op.js";
import { add, cast, concat, div, mul, nonZero, reshape, sum } from "../../graph/ops/index.js";
import type { Tensor } from "../../graph/tensor.js";
import { withScope } from "../../graph/trace.js";
import type { Engine, EngineBuffer, ModelSource } from "../engine.js";
import { describeEngine } from "../testing/engine-contract.js";
import { referenceEngine } from "./engine.js";
import { evaluate } from "./interpret.js";

const graph = (inputs: readonly Tensor[], outputs: Readonly<Record<string, Tensor>>): Graph => ({
  inputs: new Map(inputs.map((tensor) => [tensor.node.attributes.name as string, tensor])),
  outputs: new Map(Object.entries(outputs)),
});

const float = (shape: readonly number[], ...values: readonly number[]): HostArray => fromNumbers("float32", shape, values);
const x = input("x", "float32", [2]);

describe("evaluate", () => {
  it("rounds each result to its dtype, or keeps float64 when it is to be exact", () => {
    const y = mul(mul(x, 0.1), 10);
    const given = new Map([["x", float([2], 1, 3)]]);
    const rounded = evaluate(graph([x], { y }), given).get("y") as HostArray;
    expect(rounded.dtype).toBe("float32");
    expect([...rounded.data]).toEqual([1, 3].map((value) => Math.fround(Math.fround(value * Math.fround(0.1)) * 10)));
    const exact = evaluate(graph([x], { y }), given, { exact: true }).get("y") as HostArray;
    expect(exact.dtype).toBe("float64");
    expect([...exact.data]).toEqual([1, 3].map((value) => value * Math.fround(0.1) * 10));
  });

  it("rounds to half precision, cuts integers, also when it is exact", () => {
    const half = cast(x, "float16");
    const third = div(cast(x, "int64"), constant(3, "int64"));
    const results = evaluate(graph([x], { half, third, truth: cast(x, "bool") }), new Map([["x", float([2], 1 / 3, -7.5)]]));
    expect(Array.from(toNumbers(results.get("half") as HostArray))).toEqual([0.333251953125, -7.5]);
    expect([...(results.get("third") as HostArray).data]).toEqual([0n, -2n]);
    expect([...(results.get("truth") as HostArray).data]).toEqual([1, 1]);
    const exact = evaluate(graph([x], { third }), new Map([["x", float([2], 8, -7)]]), { exact: true });
    expect([...(exact.get("third") as HostArray).data]).toEqual([2n, -2n]);
  });

  it("leaves what it was given alone", () => {
    const given = float([2], 1.5, 2.5);
    evaluate(graph([x], { y: cast(x, "int32"), z: reshape(x, [1, 2]) }), new Map([["x", given]]));
    expect([...given.data]).toEqual([1.5, 2.5]);
  });

  it("takes float64 for any float when it is exact, and only then", () => {
    const given = new Map([["x", fromNumbers("float64", [2], [1e-12, 1])]]);
    expect([...(evaluate(graph([x], { y: add(x, 1) }), given, { exact: true }).get("y") as HostArray).data]).toEqual([
      1 + 1e-12,
      2,
    ]);
    expect(() => evaluate(graph([x], { y: add(x, 1) }), given)).toThrow(/'x' is float32, but float64 was given/);
  });

  it("computes only the outputs that are asked for, from the inputs that they need", () => {
    const other = input("other", "float32", []);
    const both = graph([x, other], { a: add(x, 1), b: add(other, 1) });
    expect([...evaluate(both, new Map([["x", float([2], 1, 2)]]), { outputs: ["a"] }).keys()]).toEqual(["a"]);
    expect(() => evaluate(both, new Map([["x", float([2], 1, 2)]]))).toThrow(/'other' \(float32\[\]\) was not given/);
    expect(() => evaluate(both, new Map(), { outputs: ["c"] })).toThrow(/no output called 'c'/);
    expect(() => evaluate(both, new Map([["z", float([], 1)]]))).toThrow(/no input called 'z'/);
  });

  it("names a leaf that is no input", () => {
    expect(() => evaluate(graph([], { y: add(x, 1) }), new Map())).toThrow(
      /input 'x' float32\[2\] is used by the graph but is not one of its inputs/,
    );
  });
});

describe("sizes", () => {
  const [past, seq] = [symbol("past"), symbol("seq")];
  const sized = (name: string, ...shape: readonly Dim[]): Tensor => input(name, "float32", shape);

  it("come from the shapes of inputs, and must agree", () => {
    const [a, b] = [sized("a", past), sized("b", seq)];
    const joined = concat([a, b], 0);
    const whole = sized("whole", joined.size(0));
    const total = graph([whole, a, b], { y: add(joined, whole) });
    const given = (...lengths: readonly [number, number, number]) =>
      new Map(
        ["whole", "a", "b"].map((name, i) => [
          name,
          float([lengths[i] as number], ...new Array<number>(lengths[i] as number).fill(i)),
        ]),
      );
    expect([...(evaluate(total, given(5, 2, 3)).get("y") as HostArray).data]).toEqual([1, 1, 2, 2, 2]);
    expect(() => evaluate(total, given(4, 2, 3))).toThrow(/'whole' is declared as \[past \+ seq\].*`past \+ seq` is 5 here/);
    const twice = graph([sized("p", seq), sized("q", seq)], {});
    expect(() =>
      evaluate(
        twice,
        new Map([
          ["p", float([1], 1)],
          ["q", float([2], 1, 2)],
        ]),
      ),
    ).toThrow(/'q'.*`seq` is 1 here/);
    expect(() => evaluate(graph([x], {}), new Map([["x", float([3], 1, 2, 3)]]))).toThrow(
      /'x' is declared as \[2\].*axis 0 differs/,
    );
    expect(() => evaluate(graph([x], {}), new Map([["x", float([2, 1], 1, 2)]]))).toThrow(/1 axes were expected, not 2/);
  });

  it("that operators find out are known from there on", () => {
    const mask = input("mask", "bool", [seq]);
    const found = nonZero(mask);
    const count = found.shape.find((dim) => typeof dim !== "number" && dim !== seq) as Dim;
    const y = sum(mul(cast(reshape(found, [count]), "float32"), reshape(add(cast(found, "float32"), 1), [count])));
    const result = evaluate(graph([mask], { y, found }), new Map([["mask", fromNumbers("bool", [4], [1, 0, 1, 1])]]));
    expect([...(result.get("y") as HostArray).data]).toEqual([0 + 2 * 3 + 3 * 4]);
  });

  it("of results are compared with the declared ones; the error names the operator, its operands and its module", () => {
    const wrong: OpDefinition = {
      ...operator("neg"),
      name: "wrong",
      reference: ([operand]) => [{ shape: [1], data: operand?.data.slice(0, 1) ?? new Float64Array() }],
    };
    const y = withScope("layers.1", () => applyOp(wrong, [x], {})[0] as Tensor);
    expect(() => evaluate(graph([x], { y }), new Map([["x", float([2], 1, 2)]]))).toThrow(
      /^wrong: output 0 is declared as \[2\], but has the shape \[1\].*\n {2}operands: float32\[2\]\n {2}in module: layers.1$/,
    );
    const short: OpDefinition = { ...wrong, reference: () => [{ shape: [2], data: new Float64Array(3) }] };
    expect(() => evaluate(graph([x], { y: applyOp(short, [x], {})[0] as Tensor }), new Map([["x", float([2], 1, 2)]]))).toThrow(
      /shape \[2\], but 3 elements/,
    );
  });
});

describeEngine("the engine", async () => referenceEngine(), { without: [], namesOperators: false });

describe("the engine besides", () => {
  const source = (of: Graph, rest: Partial<ModelSource> = {}): ModelSource => ({
    graph: of,
    onnx: () => new Uint8Array(),
    externalFiles: [],
    frozen: new Map(),
    ...rest,
  });
  const numbers = async (engine: Engine, buffer: EngineBuffer | undefined): Promise<number[]> =>
    Array.from(toNumbers(await engine.read(buffer as EngineBuffer)));

  it("keeps float64 inside an exact run, and stores what the outputs are declared as", async () => {
    const engine = referenceEngine({ exact: true });
    const model = await engine.load(source(graph([x], { y: add(add(x, 1e-9), -1) })));
    const results = await model.run(new Map([["x", await engine.upload(float([2], 1, 1))]]), new Map([["y", undefined]]));
    const y = await engine.read(results.get("y") as EngineBuffer);
    expect(y.dtype).toBe("float32");
    expect(y.data[0]).toBeCloseTo(1e-9, 15);
  });

  it("holds frozen inputs, from memory and from files", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tsumiki-reference-"));
    try {
      const path = join(folder, "weights.bin");
      // Three bytes of something else come first: places in files need not be aligned.
      await writeFile(path, new Uint8Array([0, 0, 0, ...new Uint8Array(new Float32Array([10, 20]).buffer)]));
      const [a, b] = [input("a", "float32", [2]), input("b", "float32", [2])];
      const engine = referenceEngine();
      const frozen = new Map<string, HostArray | { location: string; offset: number; length: number }>([
        ["a", float([2], 1, 2)],
        ["b", { location: "weights", offset: 3, length: 8 }],
      ]);
      const of = graph([a, b, x], { y: add(add(a, b), x) });
      const model = await engine.load(source(of, { frozen, externalFiles: [{ location: "weights", path }] }));
      const results = await model.run(new Map([["x", await engine.upload(float([2], 100, 200))]]), new Map([["y", undefined]]));
      expect(await numbers(engine, results.get("y"))).toEqual([111, 222]);
      await expect(engine.load(source(of, { frozen }))).rejects.toThrow(/'b' lie in weights/);
      const cut = new Map([["b", { location: "weights", offset: 8, length: 8 }]]);
      await expect(engine.load(source(of, { frozen: cut, externalFiles: [{ location: "weights", path }] }))).rejects.toThrow(
        /ends at byte 11, but weights were expected up to 16/,
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
