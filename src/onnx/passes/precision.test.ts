import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../engine/reference/interpret.js";
import { graphOf } from "../../engine/testing/graphs.js";
import "../../graph/methods.js";
import { checkpoint } from "../../graph/checkpoint.js";
import { customGradient } from "../../graph/custom-gradient.js";
import { roundTo } from "../../graph/dtype.js";
import { grad } from "../../graph/gradient.js";
import { type Graph, nodesOf } from "../../graph/graph.js";
import { elementCount, fromNumbers, toNumbers } from "../../graph/host-array.js";
import { input } from "../../graph/leaves.js";
import {
  add,
  concat,
  exp,
  gelu,
  matmul,
  mean,
  mul,
  pad,
  reshape,
  rmsNorm,
  silu,
  slice,
  softmax,
  sub,
  sum,
  tanh,
  transpose,
} from "../../graph/ops/index.js";
import { namedRandom } from "../../graph/random.js";
import { scan } from "../../graph/scan.js";
import type { Tensor } from "../../graph/tensor.js";
import { optimize } from "./index.js";

const float = (name: string, ...shape: number[]) => input(name, "float32", shape);
const x = float("x", 6, 8);
const y = float("y", 6, 8);
const w = float("w", 8, 8);
const v = float("v", 8, 8);
const row = float("row", 8);
const inputs = { x, y, w, v, row };

const inBfloat16 = (outputs: Readonly<Record<string, Tensor>>): Graph => optimize(graphOf(inputs, outputs), "bf16");

/** What is computed, leaves aside, with the element type of the result: `matmul bfloat16`. */
const operatorsOf = (graph: Graph): string[] =>
  nodesOf(graph.outputs.values())
    .filter(({ op }) => !op.leaf)
    .map(({ op, outputs }) => `${op.name} ${outputs[0]?.dtype}`);

const count = (graph: Graph, operator: string): number => operatorsOf(graph).filter((name) => name === operator).length;

function valuesOf(graph: Graph, { exact = false } = {}): ReadonlyMap<string, Float64Array> {
  const given = [...graph.inputs].map(([name, { dtype, shape }]) => {
    const sizes = shape as readonly number[];
    const { normal } = namedRandom(1, name);
    return [name, fromNumbers(dtype, sizes, Array.from({ length: elementCount(sizes) }, normal))] as const;
  });
  const values = evaluate(graph, new Map(given), { exact });
  return new Map([...values].map(([name, value]) => [name, toNumbers(value)]));
}

/** The largest difference of two results, over the largest value. */
function differenceOf(a: Float64Array, b: Float64Array): number {
  const largest = Math.max(...b.map(Math.abs), 1e-6);
  return Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number)))) / largest;
}

/** 8 bits of a number are kept: half a unit of the last place. */
const ROUNDING = 2 ** -9;

describe("products in bfloat16", () => {
  it("take operands that were cast and give back float32", () => {
    const graph = inBfloat16({ product: matmul(x, w) });
    expect(operatorsOf(graph)).toEqual(["cast bfloat16", "cast bfloat16", "matmul bfloat16", "cast float32"]);
    expect(graph.outputs.get("product")).toMatchObject({ dtype: "float32", shape: [6, 8] });
    expect([...graph.inputs.values()]).toEqual(Object.values(inputs));
  });

  it("mean rounding: of the operands, and of the result", () => {
    const outputs = { product: matmul(x, w) };
    const rounded = (tensor: Tensor) => tensor.cast("bfloat16").cast("float32");
    const exact = valuesOf(graphOf(inputs, { product: matmul(rounded(x), rounded(w)) })).get("product") as Float64Array;
    const found = valuesOf(inBfloat16(outputs)).get("product") as Float64Array;
    expect([...found]).toEqual([...exact].map((value) => roundTo("bfloat16", value)));
    expect([...found]).not.toEqual([...(valuesOf(graphOf(inputs, outputs)).get("product") as Float64Array)]);
  });

  it("leave graphs without products as they are, and products of other floats", () => {
    const sums = graphOf(inputs, { a: softmax(add(x, y)), b: rmsNorm(x, row) });
    expect(operatorsOf(optimize(sums, "bf16"))).toEqual(operatorsOf(optimize(sums)));
    const a = input("a", "float64", [2, 2]);
    expect(operatorsOf(optimize(graphOf({ a }, { b: matmul(a, a) }), "bf16"))).toEqual(["matmul float64"]);
  });

  it("cast a value once, however many read it, and in whatever shape", () => {
    const graph = inBfloat16({ a: matmul(x, w), b: matmul(x, v), c: matmul(x, w, { transposeB: true }) });
    expect(count(graph, "cast bfloat16")).toBe(3); // x, w, v
    const shaped = inBfloat16({
      a: matmul(exp(x), w),
      b: matmul(reshape(transpose(reshape(exp(x), [3, 2, 8]), [1, 0, 2]), [6, 8]), v),
    });
    expect(count(shaped, "cast bfloat16")).toBe(3);
    expect(count(shaped, "transpose bfloat16")).toBe(1);
  });

  it("are cast back once where several are laid end to end, with what is not narrow between them as it is", () => {
    const [a, b, c] = [matmul(x, w), matmul(y, w), matmul(x, v)];
    const graph = inBfloat16({ all: concat([a, b, exp(x), c], 0) });
    expect(count(graph, "cast float32")).toBe(2);
    expect(operatorsOf(graph).slice(-3)).toContain("concat float32");
    expect(count(graph, "concat bfloat16")).toBe(1);
    // One that is needed in float32 anyway has been cast, and is not cast again.
    const read = inBfloat16({ root: exp(a), all: concat([a, b, c], 0) });
    expect(count(read, "cast float32")).toBe(2);
    const apart = graphOf(inputs, { a, b, c });
    const rounded = valuesOf(optimize(apart, "bf16"));
    const together = valuesOf(inBfloat16({ all: concat([a, b, c], 1) })).get("all") as Float64Array;
    for (const [i, name] of ["a", "b", "c"].entries())
      for (let at = 0; at < 6 * 8; at++)
        expect(together[Math.floor(at / 8) * 24 + i * 8 + (at % 8)]).toBe((rounded.get(name) as Float64Array)[at]);
  });

  it("cast nothing where one moves its result to another", () => {
    const heads = transpose(reshape(matmul(x, w), [6, 2, 4]), [1, 0, 2]); // [2, 6, 4]
    const padded = pad(concat([heads, heads], 0), [
      [0, 0],
      [0, 2],
      [0, 0],
    ]);
    const graph = inBfloat16({ scores: matmul(padded, padded, { transposeB: true }) });
    expect(operatorsOf(graph)).toEqual([
      ...["cast bfloat16", "cast bfloat16", "matmul bfloat16", "reshape bfloat16", "transpose bfloat16"],
      ...["concat bfloat16", "pad bfloat16", "matmul bfloat16", "cast float32"],
    ]);
  });

  it("cast the whole before its parts, but not for one part alone", () => {
    const part = (start: number) => matmul(slice(exp(x), 0, start, start + 3), w);
    const whole = inBfloat16({ a: part(0), b: part(3) });
    expect([count(whole, "cast bfloat16"), count(whole, "slice bfloat16"), count(whole, "slice float32")]).toEqual([2, 2, 0]);
    const alone = inBfloat16({ a: part(0) });
    expect([count(alone, "slice bfloat16"), count(alone, "slice float32")]).toEqual([0, 1]);
  });

  it("are multiplied by a factor in float32, unless it is a power of 2", () => {
    const graph = inBfloat16({ a: matmul(x, w, { scale: 0.3 }), b: matmul(x, v, { scale: -0.25 }) });
    expect([count(graph, "mul float32"), count(graph, "matmul bfloat16")]).toEqual([1, 2]);
    expect(graph.outputs.get("b")?.node.inputs[0]?.node.attributes).toMatchObject({ scale: -0.25 });
    const exact = valuesOf(graphOf(inputs, { a: matmul(x, w, { scale: 0.3 }) }));
    expect(differenceOf(valuesOf(graph).get("a") as Float64Array, exact.get("a") as Float64Array)).toBeLessThan(8 * ROUNDING);
  });
});

describe("what surrounds them", () => {
  it("stays in float32: norms, softmax, sums, residuals", () => {
    const attention = softmax(matmul(x, y, { transposeB: true, scale: 0.25 }));
    const stream = add(x, matmul(matmul(attention, y), w));
    const graph = inBfloat16({ loss: mean(mul(rmsNorm(stream, row), matmul(stream, v))), stream });
    const others = operatorsOf(graph).filter((name) => !/^(cast|matmul|reshape|transpose) /.test(name));
    expect(others).toEqual(expect.arrayContaining(["softmax float32", "add float32", "rmsNorm float32", "mul float32"]));
    expect(others.filter((name) => name.endsWith("bfloat16"))).toEqual([]);
  });

  const gated = () => matmul(mul(silu(matmul(x, w)), matmul(x, v)), w);

  it("is bfloat16 where it lies between products alone, in the backward pass too", () => {
    const forward = inBfloat16({ y: gated() });
    expect(
      operatorsOf(forward)
        .filter((name) => !name.startsWith("cast bfloat16"))
        .sort(),
    ).toEqual([...["cast float32", "matmul bfloat16", "matmul bfloat16", "matmul bfloat16", "mul bfloat16", "silu bfloat16"]]);
    const loss = sum(mul(gated(), y));
    const [dw, dv, dx] = grad(loss, [w, v, x]) as [Tensor, Tensor, Tensor];
    const graph = inBfloat16({ loss, dw, dv, dx });
    // The hidden values and their gradients are 2 · 6 · 8 numbers that are kept: no wide form of them is made.
    expect(count(graph, "sigmoid bfloat16")).toBe(1);
    expect(count(graph, "matmul bfloat16")).toBe(9); // three products with two gradients each
    expect(operatorsOf(graph).filter((name) => /^(silu|sigmoid|sub) float32/.test(name))).toEqual([]);
  });

  it.each<[string, () => Tensor, string]>([
    ["a result that the program gives out", () => tanh(matmul(x, w)), "tanh float32"],
    ["a sum that is a stream: others read it too", () => add(matmul(x, w), matmul(y, v)), "add float32"],
    ["an operand that is not narrow", () => matmul(mul(matmul(x, w), y), v), "mul float32"],
    ["a factor that bfloat16 does not have", () => matmul(mul(matmul(x, w), 0.1), v), "mul float32"],
    ["an operator that enlarges errors", () => matmul(exp(matmul(x, w)), v), "exp float32"],
  ])("stays float32 for %s", (_, make, operator) => {
    const result = make();
    const graph = inBfloat16({ result, read: rmsNorm(matmul(result, w)), norm: rmsNorm(result) });
    expect(operatorsOf(graph)).toContain(operator);
  });

  it("casts biases, whose gradients are summed in float32", () => {
    const hidden = gelu(add(matmul(x, w), row));
    const loss = mean(matmul(hidden, v));
    const [dRow] = grad(loss, [row]) as [Tensor];
    const graph = inBfloat16({ loss, dRow });
    expect(count(graph, "add bfloat16")).toBe(1);
    expect(count(graph, "sum float32")).toBeGreaterThan(0);
    expect(count(graph, "sum bfloat16")).toBe(0);
  });
});

describe("gradients in bfloat16", () => {
  const layer = (h: Tensor) => add(h, matmul(silu(matmul(rmsNorm(h, row), w)), v));
  const graphs = (loss: Tensor) => {
    const [dw, dx] = grad(loss, [w, x]) as [Tensor, Tensor];
    const graph = graphOf(inputs, { loss, dw, dx });
    return { wide: optimize(graph), narrow: optimize(graph, "bf16") };
  };
  const expectClose = ({ wide, narrow }: ReturnType<typeof graphs>, bound: number) => {
    const exact = valuesOf(wide);
    for (const [name, values] of valuesOf(narrow)) {
      const difference = differenceOf(values, exact.get(name) as Float64Array);
      expect(difference, name).toBeLessThan(bound);
      expect(narrow.outputs.get(name)?.dtype).toBe("float32");
    }
    expect(count(narrow, "matmul float32")).toBe(0);
  };

  it("are those of float32, rounded", () => {
    expectClose(graphs(mean(mul(layer(layer(x)), y))), 16 * ROUNDING);
  });

  it("go through what is recomputed, and the recomputed stays behind its barrier", () => {
    const both = graphs(
      mean(
        mul(
          checkpoint(() => layer(checkpoint(() => layer(x)))),
          y,
        ),
      ),
    );
    expectClose(both, 16 * ROUNDING);
    expect(count(both.narrow, "silu bfloat16")).toBe(count(both.wide, "silu float32"));
    expect(count(both.narrow, "matmul bfloat16")).toBe(count(both.wide, "matmul float32"));
  });

  it("go through gradients that were given", () => {
    const [product] = customGradient(
      (a, b) => [matmul(a as Tensor, b as Tensor)],
      ({ inputs: [a, b], gradients: [dy] }) => [
        matmul(dy as Tensor, b as Tensor, { transposeB: true }),
        matmul(a as Tensor, dy as Tensor, { transposeA: true }),
      ],
    )(x, w) as [Tensor];
    const both = graphs(mean(mul(product, y)));
    expectClose(both, 8 * ROUNDING);
    expect(count(both.narrow, "passThrough float32")).toBe(0);
  });

  it("go through loops, whose bodies stay in float32", () => {
    const step = ([h]: readonly Tensor[], [element]: readonly Tensor[]) => ({
      carry: [tanh(add(matmul(h as Tensor, w), element as Tensor))] as const,
    });
    const { carry } = scan(step, { carry: [matmul(x, v)], sequences: [float("s", 3, 6, 8)] });
    const loss = mean(mul(matmul(carry[0], v), y));
    const [dw] = grad(loss, [w]) as [Tensor];
    const given = { ...inputs, s: nodesOf([loss]).flatMap(({ op, outputs }) => (op.name === "input" ? outputs : [])) };
    const leaves = new Map(
      Object.values(given)
        .flat()
        .map((leaf) => [String(leaf.node.attributes.name), leaf]),
    );
    const graph: Graph = { inputs: leaves, outputs: new Map(Object.entries({ loss, dw })) };
    const exact = valuesOf(graph);
    for (const [name, values] of valuesOf(optimize(graph, "bf16")))
      expect(differenceOf(values, exact.get(name) as Float64Array)).toBeLessThan(32 * ROUNDING);
    expect(count(optimize(graph, "bf16"), "matmul bfloat16")).toBeGreaterThan(1);
  });
});

it("changes random graphs by rounding alone, and nothing when nothing is rounded", () => {
  type Step = readonly [kind: number, a: number, b: number];
  const build = (steps: readonly Step[]): Tensor[] => {
    const made: Tensor[] = [x, y, matmul(x, w)];
    const pick = (i: number) => made[i % made.length] as Tensor;
    const makers: readonly ((a: Tensor, b: Tensor) => Tensor)[] = [
      add,
      sub,
      (a, b) => mul(tanh(a), tanh(b)),
      (a) => matmul(tanh(a), w),
      (a) => matmul(tanh(a), v, { transposeB: true, scale: 0.3 }),
      (a, b) => matmul(softmax(matmul(tanh(a), tanh(b), { transposeB: true })), a),
      (a) => silu(a),
      (a) => add(a, row),
      (a) => rmsNorm(a, row),
      (a) => reshape(transpose(reshape(a, [6, 2, 4]), [1, 0, 2]), [6, 8]),
      (a, b) => concat([slice(a, 0, 0, 2), slice(b, 0, 2, 6)], 0),
      (a) => mul(a, mean(a, { axes: [1], keepDims: true })),
    ];
    for (const [kind, a, b] of steps) made.push((makers[kind % makers.length] as (typeof makers)[0])(pick(a), pick(b)));
    return made.slice(-2);
  };
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { minLength: 1, maxLength: 10 }), (steps) => {
      const [a, b] = build(steps) as [Tensor, Tensor];
      const bounded = tanh(add(a, b));
      const loss = mean(mul(bounded, bounded)); // no sum that comes to nothing: errors are told as parts of the result
      const [dx, dw] = grad(loss, [x, w]) as [Tensor, Tensor];
      const graph = graphOf(inputs, { a, b, loss, dx, dw });
      const narrow = optimize(graph, "bf16");
      for (const [name, { dtype, shape }] of graph.outputs) expect(narrow.outputs.get(name)).toMatchObject({ dtype, shape });
      expect(count(narrow, "matmul float32")).toBe(0);
      // In float64 throughout, casts change nothing: what is left must be the same computation, factors of products aside.
      const exact = valuesOf(graph, { exact: true });
      for (const [name, values] of valuesOf(narrow, { exact: true }))
        expect(differenceOf(values, exact.get(name) as Float64Array)).toBeLessThan(1e-6);
    }),
    { numRuns: 80 },
  );
});
