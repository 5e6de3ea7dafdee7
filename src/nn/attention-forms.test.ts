/** Attention in blocks and whole attention are one function: values and gradients, for every combination of what it takes. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import {
  cast,
  constant,
  grad,
  type HostArray,
  hostArray,
  mul,
  sin,
  sum,
  type Tensor,
  toNumbers,
  Variable,
} from "../graph/index.js";
import { namedRandom } from "../graph/random.js";
import { compile } from "../program/index.js";
import { type AttendOptions, attend, attentionOf, type Mask } from "./attention.js";
import { blockwiseAttention } from "./blockwise-attention.js";
import { wholeAttention } from "./whole-attention.js";

const engine = referenceEngine();
const ort = await onnxRuntimeNode({ threads: 1 });

const variable = (name: string, shape: readonly number[]): Variable => {
  const random = namedRandom(1, name); // not the initializer's: a variable of no module has a seed of its own
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, random.normal);
  return new Variable(shape, { name, initializer: () => data });
};

/** bool of a shape, true with a probability. */
function bools(name: string, shape: readonly number[], probability: number): Tensor {
  const random = namedRandom(1, name);
  const data = Uint8Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => Number(random.uniform() < probability));
  return constant(hostArray("bool", shape, data));
}

/** int [rows, length] that rises now and then. */
function documents(name: string, rows: number, length: number): Tensor {
  const random = namedRandom(1, name);
  return constant(
    Array.from({ length: rows }, () => {
      let document = 0;
      return Array.from({ length }, () => {
        document += Number(random.uniform() < 0.3);
        return document;
      });
    }),
    "int32",
  );
}

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });
const broadcast = fc.record({
  batch: fc.boolean(),
  heads: fc.boolean(),
  queries: fc.boolean(),
  keys: fc.boolean(),
  rank: fc.constantFrom(2, 3, 4),
});

const cases = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 2 }),
  queries: fc.integer({ min: 1, max: 9 }),
  more: fc.integer({ min: -3, max: 5 }),
  headDim: fc.integer({ min: 1, max: 3 }),
  valueDim: fc.integer({ min: 1, max: 3 }),
  block: fc.integer({ min: 1, max: 4 }),
  stretch: fc.integer({ min: 1, max: 12 }),
  causal: fc.boolean(),
  lookahead: optional(fc.nat({ max: 3 })),
  window: optional(fc.integer({ min: 1, max: 6 })),
  sinks: fc.nat({ max: 3 }),
  prefix: optional(fc.constantFrom("number" as const, "rows" as const)),
  padding: optional(fc.constantFrom("left" as const, "right" as const, "any" as const)),
  segments: optional(fc.constantFrom("same" as const, "two" as const)),
  visible: optional(broadcast),
  bias: optional(broadcast),
  softCap: optional(fc.constant(0.8)),
  slopes: fc.boolean(),
  sinkScores: fc.boolean(),
  dropout: fc.constantFrom(0, 0, 0.4),
});

type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

function problem(given: Case) {
  const { batch, kvHeads, group, queries, headDim, valueDim, causal, lookahead, window, sinks } = given;
  const keys = Math.max(1, queries + given.more);
  const heads = kvHeads * group;
  const shapeOf = (which: Exclude<Case["bias"], undefined>) =>
    [which.batch ? batch : 1, which.heads ? heads : 1, which.queries ? queries : 1, which.keys ? keys : 1].slice(-which.rank);
  const [q, k, v] = [
    variable("q", [batch, heads, queries, headDim]),
    variable("k", [batch, kvHeads, keys, headDim]),
    variable("v", [batch, kvHeads, keys, valueDim]),
  ];
  const bias = given.bias && variable("bias", shapeOf(given.bias));
  const sinkScores = given.sinkScores ? variable("sinkScores", [heads]) : undefined;
  const leftPadded = constant(
    hostArray(
      "bool",
      [batch, keys],
      Uint8Array.from({ length: batch * keys }, (_, i) => Number(i % keys >= Math.min(keys - 1, 2 + Math.floor(i / keys)))),
    ),
  );
  const rightPadded = constant(
    hostArray(
      "bool",
      [batch, keys],
      Uint8Array.from({ length: batch * keys }, (_, i) => Number(i % keys < keys - 1)),
    ),
  );
  const padding = { left: leftPadded, right: rightPadded, any: bools("padding", [batch, keys], 0.6) };
  const segments = {
    same: queries === keys ? documents("documents", batch, keys) : undefined,
    two: { queries: documents("ofQueries", batch, queries), keys: documents("ofKeys", batch, keys) },
  };
  const mask: Mask = {
    ...{ causal, lookahead, window, sinks },
    prefix: given.prefix === "rows" ? constant([3, 1].slice(0, batch), "int32") : given.prefix && 2,
    keys: given.padding && padding[given.padding],
    segments: given.segments && segments[given.segments],
    visible: given.visible && bools("visible", shapeOf(given.visible), 0.6),
  };
  const slopes = given.slopes ? Array.from({ length: heads }, (_, i) => 0.5 / (i + 1)) : undefined;
  const options: AttendOptions = { mask, bias, sinkScores, slopes, softCap: given.softCap, dropout: given.dropout };
  return { q, k, v, options, trained: [q, k, v, ...(bias ? [bias] : []), ...(sinkScores ? [sinkScores] : [])] };
}

async function valuesAndGradients(given: Case, form: "whole" | "blocks"): Promise<Record<string, number[]>> {
  const { q, k, v, options, trained } = problem(given);
  await using program = compile(
    () => {
      const attention = attentionOf(q, k, v, options);
      const y = form === "whole" ? wholeAttention(attention) : blockwiseAttention(attention, given);
      const gradients = grad(sum(mul(sin(y), y)), trained);
      return { y, ...Object.fromEntries(trained.map(({ path }, i) => [path as string, gradients[i] as Tensor])) };
    },
    {},
    { engine, training: true },
  );
  const results: Readonly<Record<string, HostArray>> = await program({});
  return Object.fromEntries(Object.entries(results).map(([name, array]) => [name, [...toNumbers(array)]]));
}

const plain: Case = {
  ...{ batch: 2, kvHeads: 1, group: 2, queries: 7, more: 0, headDim: 2, valueDim: 3, block: 3, stretch: 12 },
  ...{
    causal: true,
    lookahead: undefined,
    window: undefined,
    sinks: 0,
    prefix: undefined,
    padding: undefined,
    segments: undefined,
  },
  ...{ visible: undefined, bias: undefined, softCap: undefined, slopes: false, sinkScores: false, dropout: 0 },
};

describe("attention in blocks", () => {
  it("equals whole attention in values and gradients, whatever is combined", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (given) => {
        const [blocks, whole] = [await valuesAndGradients(given, "blocks"), await valuesAndGradients(given, "whole")];
        expect(Object.keys(blocks)).toEqual(Object.keys(whole));
        for (const [name, values] of Object.entries(whole))
          for (const [i, value] of values.entries()) {
            const found = blocks[name]?.[i] as number;
            if (!(Math.abs(found - value) < 2e-5 * Math.max(1, Math.abs(value))))
              expect.fail(`${name}[${i}] is ${found}, not ${value}`);
          }
      }),
      { numRuns: 120 },
    );
  });

  it.each(["whole", "blocks"] as const)(
    "gives queries that see no key zeros, and lets nothing flow back from them (%s)",
    async (form) => {
      // The first two keys of row 0 and three of row 1 are padding, so that as many first queries see nothing.
      const { y, q, k, v } = (await valuesAndGradients({ ...plain, padding: "left" }, form)) as Record<
        "y" | "q" | "k" | "v",
        number[]
      >;
      const at = (values: number[], width: number, row: number, place: number, heads: number) =>
        Array.from({ length: heads }, (_, h) => values.slice(((row * heads + h) * 7 + place) * width).slice(0, width)).flat();
      for (const row of [0, 1])
        for (let place = 0; place < 7; place++) {
          const real = place >= 2 + row;
          expect(at(y, 3, row, place, 2).every((x) => x === 0)).toBe(!real);
          for (const gradient of [at(k, 2, row, place, 1), at(v, 3, row, place, 1)])
            expect(gradient.every((x) => x === 0)).toBe(!real);
          // The first real query sees one key alone: its weight is 1 whatever the query.
          expect(at(q, 2, row, place, 2).every((x) => x === 0)).toBe(place <= 2 + row);
        }
    },
  );
});

describe("element types", () => {
  it.each([
    ["float64", 1e-6],
    ["float16", 4e-3],
  ] as const)("attends in %s", async (dtype, tolerance) => {
    for (const form of ["whole", "blocks"] as const)
      for (const engineHere of dtype === "float64" ? [engine, ort] : [ort]) {
        const make = (type: "float32" | typeof dtype) => {
          const { q, k, v, options } = problem({
            ...plain,
            padding: "left",
            slopes: true,
            window: 4,
            softCap: 0.8,
            sinkScores: true,
          });
          const turned = (x: Tensor) => cast(x, type);
          const attention = attentionOf(turned(q), turned(k), turned(v), {
            ...options,
            sinkScores: turned(options.sinkScores as Tensor),
          });
          const y = form === "whole" ? wholeAttention(attention) : blockwiseAttention(attention, plain);
          expect(y.dtype).toBe(type);
          return { y: cast(y, "float32"), dq: grad(cast(sum(mul(sin(y), y)), "float32"), [q])[0] as Tensor };
        };
        await using program = compile(
          () => {
            const [narrow, exact] = [make(dtype), make("float32")];
            return { y: narrow.y, dq: narrow.dq, exactY: exact.y, exactDq: exact.dq };
          },
          {},
          { engine: engineHere },
        );
        const { y, dq, exactY, exactDq } = await program({});
        for (const [found, exact] of [
          [y, exactY],
          [dq, exactDq],
        ] as const)
          for (const [i, value] of exact.toNumbers().entries())
            expect(Math.abs((found.toNumbers()[i] as number) - value)).toBeLessThan(tolerance);
      }
  });
});

it("attend says what does not fit", () => {
  const of = (...shape: number[]) => variable("x", shape);
  const [q, k, v] = [of(2, 4, 3, 5), of(2, 2, 6, 5), of(2, 2, 6, 7)];
  expect(attend(q, k, v).shape).toEqual([2, 4, 3, 7]);
  expect(() => attend(q, k, of(2, 2, 5, 7))).toThrow(/values \[2, 2, 5, 7\] need as many heads and positions as keys/);
  expect(() => attend(q, k, v, { bias: of(3, 1, 6) })).toThrow(/the bias \[3, 1, 6\] does not broadcast to .* = \[2, 4, 3, 6\]/);
  expect(() => attend(q, k, v, { mask: { visible: bools("x", [2, 2, 3, 6], 1) } })).toThrow(
    /the visibility .* does not broadcast/,
  );
  expect(() => attend(q, k, v, { mask: { segments: documents("x", 2, 3) } })).toThrow(/segments are \{ queries, keys \}/);
});
