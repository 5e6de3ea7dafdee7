import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { evaluate } from "../engine/reference/interpret.js";
import { graphOf, runOnce } from "../engine/testing/graphs.js";
import {
  addDims,
  bindDim,
  bindShape,
  ceilDivDims,
  type Dim,
  floorDivDims,
  mulDims,
  SymbolicDim,
  subDims,
  symbol,
} from "../graph/dim.js";
import type { Graph } from "../graph/graph.js";
import "../graph/methods.js";
import { fromNumbers, type HostArray, toNumbers } from "../graph/host-array.js";
import { constant, input } from "../graph/leaves.js";
import {
  add,
  broadcastTo,
  concat,
  exp,
  full,
  gather,
  matmul,
  mul,
  nonZero,
  range,
  reshape,
  sin,
  sum,
  transpose,
} from "../graph/ops/index.js";
import { scan } from "../graph/scan.js";
import type { Tensor } from "../graph/tensor.js";
import { withScope } from "../graph/trace.js";
import { Variable } from "../graph/variable.js";
import { ModelProtoSchema } from "./schema/onnx_pb.js";
import { writeOnnx } from "./writer.js";

const engine = await onnxRuntimeNode({ threads: 1 });

const floats = (shape: readonly number[], values?: ArrayLike<number>): HostArray =>
  fromNumbers("float32", shape, values ?? Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i + 1));

const numbers = (array: HostArray | undefined): number[] => [...toNumbers(array as HostArray)];

const parse = (graph: Graph, options?: Parameters<typeof writeOnnx>[1]) =>
  fromBinary(ModelProtoSchema, writeOnnx(graph, options));

describe("sizes", () => {
  const [a, b] = [symbol("a"), symbol("b")];
  const carrier = input("carrier", "float32", [a, b]);

  /** Arithmetic over a and b; differences may be negative. */
  const dims: fc.Arbitrary<Dim> = fc.letrec<{ dim: Dim }>((tie) => ({
    dim: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom<Dim[]>(a, b),
      fc.integer({ min: 0, max: 4 }),
      fc.tuple(tie("dim"), tie("dim")).map(([x, y]) => addDims(x, y)),
      fc.tuple(tie("dim"), tie("dim")).map(([x, y]) => subDims(x, y)),
      fc.tuple(tie("dim"), tie("dim")).map(([x, y]) => mulDims(x, y)),
      fc.tuple(tie("dim"), fc.integer({ min: 1, max: 4 })).map(([x, y]) => floorDivDims(x, y)),
      fc.tuple(tie("dim"), fc.integer({ min: 1, max: 4 })).map(([x, y]) => ceilDivDims(x, y)),
    ),
  })).dim;

  const bindings = (x: number, y: number) =>
    new Map([
      [(a.terms[0] as (typeof a.terms)[0]).atoms[0] as never, x],
      [(b.terms[0] as (typeof b.terms)[0]).atoms[0] as never, y],
    ]);

  it("are computed in the model as they are on paper", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(dims, { minLength: 1, maxLength: 12 }), async (list) => {
        const graph = graphOf(
          { carrier },
          {
            sizes: concat(
              list.map((dim) => range(1, "int64", dim)),
              0,
            ),
          },
        );
        const model = await engine.load({ graph, onnx: () => writeOnnx(graph), externalFiles: [], frozen: new Map() });
        for (const [x, y] of [
          [1, 1],
          [3, 2],
          [0, 5],
          [7, 4],
        ] as const) {
          const buffer = await engine.upload(floats([x, y]));
          const results = await model.run(new Map([["carrier", buffer]]), new Map([["sizes", undefined]]));
          const found = numbers(await engine.read(results.get("sizes") as never));
          expect(found).toEqual(list.map((dim) => bindDim(dim, bindings(x, y)) + 0));
        }
        await model.release();
      }),
      { numRuns: 40, examples: [[[floorDivDims(subDims(a, b), 2), floorDivDims(subDims(1, mulDims(a, b)), 3)]]] }, // below 0 too
    );
  });

  it("make shapes: of fills, reshapes and slices", async () => {
    const shapes: Dim[][] = [
      [a, b],
      [mulDims(a, b)],
      [addDims(a, b, 1), 2, b],
      [floorDivDims(a, 2), subDims(addDims(a, a), floorDivDims(a, 2))],
      [subDims(mulDims(a, 3), 1)],
    ];
    const outputs = {
      ...Object.fromEntries(shapes.map((shape, i) => [`full${i}`, full(shape, i)])),
      flat: reshape(carrier, [mulDims(b, a)]),
      half: carrier.slice(0, floorDivDims(a, 2), a),
    };
    for (const [x, y] of [
      [1, 1],
      [2, 3],
      [5, 2],
    ] as const) {
      const results = await runOnce(engine, graphOf({ carrier }, outputs), { carrier: floats([x, y]) });
      for (const [name, { shape }] of Object.entries(outputs))
        expect(results[name]?.shape).toEqual(bindShape(shape, bindings(x, y)));
      expect(numbers(results.half)).toEqual(numbers(floats([x, y])).slice(Math.floor(x / 2) * y));
    }
  });

  it("that an operator finds out can be used by others", async () => {
    const x = input("x", "float32", [a]);
    const places = reshape(nonZero(x), [-1]);
    const found = gather(x, places);
    const twice = concat([found, full([addDims(found.size(0), 1)], 9)], 0);
    for (const values of [[0, 5, 0, 6], [0, 0], [1]]) {
      const { twice: result } = await runOnce(engine, graphOf({ x }, { twice }), { x: floats([values.length], values) });
      const kept = values.filter((value) => value !== 0);
      expect(numbers(result)).toEqual([...kept, ...Array(kept.length + 1).fill(9)]);
    }
  });

  it("that no input tells are an error by name", () => {
    const graph = graphOf({ carrier }, { r: full([symbol("elsewhere")], 1) });
    expect(() => writeOnnx(graph)).toThrow(
      expect.objectContaining({ code: "TRACE", message: expect.stringMatching(/`elsewhere` is not the size of any input/) }),
    );
    expect(addDims(a, -1)).toBeInstanceOf(SymbolicDim);
  });
});

describe("inputs and outputs", () => {
  const x = input("x", "float32", [3]);
  const given = { x: floats([3]) };

  it("may be one tensor several times, an input, a constant, or what another output is made of", async () => {
    const doubled = mul(x, 2);
    const results = await runOnce(
      engine,
      graphOf({ x }, { a: doubled, b: doubled, input: x, again: x, number: constant([7, 8]), sum: sum(doubled), c: doubled }),
      given,
    );
    for (const name of ["a", "b", "c"]) expect(numbers(results[name])).toEqual([2, 4, 6]);
    for (const name of ["input", "again"]) expect(numbers(results[name])).toEqual([1, 2, 3]);
    expect(numbers(results.number)).toEqual([7, 8]);
    expect(numbers(results.sum)).toEqual([12]);
  });

  it("are written by nodes of their own only where values have other names already", () => {
    const doubled = mul(x, 2);
    const kinds = (outputs: Record<string, Tensor>) => parse(graphOf({ x }, outputs)).graph?.node.map(({ opType }) => opType);
    expect(kinds({ a: doubled })).toEqual(["Mul"]);
    expect(kinds({ a: doubled, b: sum(doubled) })).toEqual(["Mul", "ReduceSum"]);
    expect(kinds({ a: doubled, b: doubled })).toEqual(["Mul", "Identity"]);
    expect(kinds({ a: x })).toEqual(["Identity"]);
  });

  it("keep their names, whatever values inside are called", async () => {
    const names = ["v0", "v1", "v2", "v3", "c0", "c1", "c2", "c3"];
    const tensors = names.map((name) => input(name, "float32", [3]));
    const total = tensors.reduce((sumSoFar, tensor, i) => add(sumSoFar, mul(tensor, i + 2)));
    const inputs = Object.fromEntries(names.map((name, i) => [name, tensors[i] as Tensor]));
    const outputs = Object.fromEntries(["v4", "v5", "v6", "v7", "v12", "c4"].map((name, i) => [name, add(total, i)]));
    const feeds = Object.fromEntries(names.map((name) => [name, floats([3])]));
    const results = await runOnce(engine, graphOf(inputs, outputs), feeds);
    const expected = [1, 2, 3].map((value) => value * (1 + 3 + 4 + 5 + 6 + 7 + 8 + 9));
    for (const [i, values] of Object.values(results).entries())
      expect(numbers(values)).toEqual(expected.map((value) => value + i));
  });

  it("that are missing, or called the same, are an error", () => {
    const y = input("y", "float32", [3]);
    expect(() => writeOnnx(graphOf({ x }, { r: add(x, y) }))).toThrow(
      expect.objectContaining({ code: "TRACE", message: expect.stringMatching(/input 'y' float32\[3\].*not one of its inputs/) }),
    );
    expect(() => writeOnnx(graphOf({ x }, { x: exp(x) }))).toThrow(expect.objectContaining({ code: "ARGUMENT" })); // two of one name
    const weight = new Variable([3], { name: "layers.0.weight" });
    expect(() => writeOnnx(graphOf({ x }, { r: add(x, weight) }))).toThrow(/layers\.0\.weight/);
  });

  it("say their types, with one name for each symbol", () => {
    const [n, m] = [symbol("n"), symbol("n")];
    const p = input("p", "int64", [n, 2, m]);
    const graph = parse(graphOf({ p }, { q: transpose(p, [2, 1, 0]) })).graph;
    const dims = (value: "input" | "output") => {
      const type = graph?.[value][0]?.type?.value;
      return type?.case === "tensorType" ? type.value.shape?.dim.map((dim) => dim.value.value) : undefined;
    };
    const [first, middle, last] = dims("input") as [string, bigint, string];
    expect(middle).toBe(2n);
    expect(first).toMatch(/^n/);
    expect(last).not.toBe(first);
    expect(dims("output")).toEqual([last, middle, first]);
  });

  it("name nodes after module and operator, for profilers and errors", () => {
    const r = withScope("layers.3.mlp", () => exp(x));
    expect(parse(graphOf({ x }, { r })).graph?.node[0]?.name).toMatch(/^layers\.3\.mlp\/exp\//);
  });
});

describe("loops", () => {
  it("see values from outside: computed, given, constant, and sizes", async () => {
    const [steps, width] = [symbol("steps"), symbol("width")];
    const x = input("x", "float32", [steps, width]);
    const weight = input("weight", "float32", [width, width]);
    const scale = exp(mul(sum(weight), 0)); // 1, computed outside
    const large = constant(Array.from({ length: 300 }, (_, i) => (i === 299 ? 1 : 0)));
    const { carry, outputs } = scan(
      ([h], [element]) => {
        const places = range(width, "float32"); // needs a size of the outside in the body
        const next = add(
          add(mul(matmul(reshape(h, [1, width]), weight).reshape([width]), scale), element),
          mul(places, sum(large)),
        );
        return { carry: [next], outputs: [add(next, sum(sin(h)))] };
      },
      { carry: [full([width], 0)], sequences: [x] },
    );
    // Sizes and values that the body used are used outside after it, under the names that they have there.
    const after = add(range(width, "float32"), scale);
    const graph = graphOf({ x, weight }, { last: carry[0], all: outputs[0], after, scale, again: scale });
    for (const [n, w] of [
      [3, 2],
      [1, 1],
      [0, 2],
    ] as const) {
      const feeds = {
        x: floats([n, w]),
        weight: floats(
          [w, w],
          Array.from({ length: w * w }, (_, i) => 0.1 * (i + 1)),
        ),
      };
      const expected = evaluate(graph, new Map(Object.entries(feeds)));
      const actual = await runOnce(engine, graph, feeds);
      for (const [name, array] of expected) {
        expect(actual[name]?.shape).toEqual(array.shape);
        for (const [i, value] of numbers(array).entries()) expect(numbers(actual[name])[i]).toBeCloseTo(value, 4);
      }
    }
  });

  it("compute sizes of their own, which nothing outside can see", async () => {
    const n = symbol("n");
    const x = input("x", "float32", [n]);
    const size = addDims(n, 2);
    // Depends on the step, so it stays in the body, and its size with it.
    const { carry } = scan(([h], [element]) => ({ carry: [add(h, sum(broadcastTo(element, [size])))] }), {
      carry: [constant(0)],
      sequences: [x],
    });
    const after = mul(full([size], 1), 7); // the same size, for the first time outside
    const { last, after: values } = await runOnce(engine, graphOf({ x }, { last: carry[0], after }), { x: floats([2]) });
    expect(numbers(last)).toEqual([4 * (1 + 2)]);
    expect(numbers(values)).toEqual([7, 7, 7, 7]);
  });

  it("may lie in loops", async () => {
    const [n, m] = [symbol("n"), symbol("m")];
    const x = input("x", "float32", [n, m]);
    const factor = input("factor", "float32", []);
    const { carry } = scan(
      ([total], [row]) => {
        const inner = scan(([h], [value]) => ({ carry: [add(mul(h, factor), value)] }), { carry: [total], sequences: [row] });
        return { carry: [inner.carry[0]] };
      },
      { carry: [constant(0)], sequences: [x] },
    );
    const graph = graphOf({ x, factor }, { digits: carry[0] });
    const feeds = { x: floats([2, 3]), factor: floats([], [10]) };
    expect(numbers((await runOnce(engine, graph, feeds)).digits)).toEqual([123456]);
  });

  it("give out values that are outputs of the model, and read those that are", async () => {
    const x = input("x", "float32", [2]);
    const doubled = mul(x, 2);
    const { carry } = scan(([h], [element]) => ({ carry: [add(h, mul(element, doubled))] }), {
      carry: [doubled],
      sequences: [x],
    });
    const results = await runOnce(engine, graphOf({ x }, { doubled, last: carry[0], same: carry[0] }), { x: floats([2]) });
    expect(numbers(results.doubled)).toEqual([2, 4]);
    expect(numbers(results.last)).toEqual([8, 16]);
    expect(numbers(results.same)).toEqual([8, 16]);
  });
});

describe("constants", () => {
  const x = input("x", "float32", [2]);
  const weight = new Variable([2], { name: "weight" });
  const graph: Graph = graphOf({ x, weight }, { r: mul(x, weight) });

  it("are written once when they are small", () => {
    const r = add(add(mul(x, 3), mul(exp(x), 3)), full([2], 3));
    const scalars = parse(graphOf({ x }, { r })).graph?.initializer.filter(
      ({ rawData }) => new Float32Array(rawData.slice().buffer)[0] === 3,
    );
    expect(scalars).toHaveLength(1);
  });

  it("may be inputs that have a value", async () => {
    const frozen = new Map([["weight", floats([2], [10, 20])]]);
    const proto = parse(graph, { frozen });
    expect(proto.graph?.input.map(({ name }) => name)).toEqual(["x"]);
    const model = await engine.load({ graph, onnx: () => writeOnnx(graph, { frozen }), externalFiles: [], frozen });
    const results = await model.run(new Map([["x", await engine.upload(floats([2]))]]), new Map([["r", undefined]]));
    expect(numbers(await engine.read(results.get("r") as never))).toEqual([10, 40]);
  });

  it("may lie in a file, anywhere in it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tsumiki-writer-"));
    try {
      const path = join(folder, "some file");
      await writeFile(path, Buffer.concat([Buffer.from("xyz"), Buffer.from(Float32Array.of(10, 20).buffer), Buffer.from("z")]));
      const frozen = new Map([["weight", { location: "weights", offset: 3, length: 8 }]]);
      const external = parse(graph, { frozen }).graph?.initializer[0]?.externalData;
      expect(Object.fromEntries(external?.map(({ key, value }) => [key, value]) ?? [])).toEqual({
        location: "weights",
        offset: "3",
        length: "8",
      });
      const model = await engine.load({
        graph,
        onnx: () => writeOnnx(graph, { frozen }),
        externalFiles: [{ location: "weights", path }],
        frozen,
      });
      const results = await model.run(new Map([["x", await engine.upload(floats([2]))]]), new Map([["r", undefined]]));
      expect(numbers(await engine.read(results.get("r") as never))).toEqual([10, 40]);
      await model.release();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("of integers, truth values and half precision arrive as they are", async () => {
    const values = {
      i: constant([-5, 7], "int64"),
      b: constant([1, 0], "bool"),
      h: constant([0.5, -65504], "float16"),
      u: constant([255, 0], "uint8"),
    };
    const results = await runOnce(engine, graphOf({ x }, { ...values, exp: exp(x) }), { x: floats([2]) });
    expect(numbers(results.i)).toEqual([-5, 7]);
    expect(numbers(results.b)).toEqual([1, 0]);
    expect(numbers(results.h)).toEqual([0.5, -65504]);
    expect(numbers(results.u)).toEqual([255, 0]);
  });
});

describe("faces", () => {
  const x = input("x", "float32", [2]);
  const graph = graphOf({ x }, { r: exp(sin(x)) });

  it("may be replaced by an engine's own, and then name their domain", () => {
    const proto = parse(graph, {
      faces: { sin: (node, [value]) => node("Sine", [value], { alpha: { float: 0.5 } }, { domain: "my.own" }) },
    });
    expect(proto.graph?.node.map(({ opType, domain }) => [opType, domain])).toEqual([
      ["Sine", "my.own"],
      ["Exp", ""],
    ]);
    expect(proto.opsetImport.map(({ domain, version }) => [domain, version])).toEqual([
      ["", 21n],
      ["my.own", 1n],
    ]);
  });

  it("write the same bytes for the same graph", () => {
    expect(writeOnnx(graph)).toEqual(writeOnnx(graph));
  });
});
