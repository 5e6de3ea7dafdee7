/** Sizes that do not go together with what a program does: an error when they are bound, never a clamped slice or a silent broadcast. */

import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import {
  add,
  cond,
  conv1d,
  type Dim,
  floorDivDims,
  gather,
  greater,
  greaterEqual,
  maxPool1d,
  nonZero,
  numberOfElements,
  or,
  pad,
  scan,
  slice,
  split,
  squeeze,
  subDims,
  sum,
  type Tensor,
  topK,
  zeros,
} from "../graph/index.js";
import { compile } from "./compile.js";
import { bool, float32 } from "./signature.js";

const engines = [
  ["onnxruntime", await onnxRuntimeNode({ threads: 1 })],
  ["reference", referenceEngine()],
] as const;

const ones = (size: number): number[] => Array<number>(size).fill(1);

describe.each(engines)("sizes on %s", (_, engine) => {
  it("must hold the rows of a slice: one row would be broadcast", async () => {
    await using program = compile(
      ({ x, y }) => ({ z: add(slice(x, 0, 0, 4), y) }),
      { x: float32("seq"), y: float32(4) },
      { engine },
    );
    expect((await program({ x: ones(5), y: ones(4) })).z.toNumbers()).toEqual(Float64Array.of(2, 2, 2, 2));
    await expect(program({ x: ones(1), y: ones(4) })).rejects.toMatchObject({
      code: "SHAPE",
      message: expect.stringMatching(/slice: 4 elements from 0 do not lie inside axis 0 of \[seq\]\n.*: seq = 1\n/),
    });
  });

  it("must reach as far as a start that counts from the end: a negative one would mean another row", async () => {
    await using program = compile(({ x }) => ({ z: sum(slice(x, 0, -3)) }), { x: float32("seq") }, { engine });
    expect((await program({ x: [5, 1, 2, 3] })).z.item()).toBe(6);
    await expect(program({ x: [1, 2] })).rejects.toMatchObject({ code: "SHAPE", message: expect.stringContaining("seq = 2") });
  });

  const cases: readonly (readonly [string, number, (x: Tensor) => Tensor])[] = [
    ["a part of a split", 2, (x) => split(x, [2, subDims(x.size(0), 2)], 0)[1] as Tensor],
    ["a padding", 3, (x) => pad(x, [[subDims(x.size(0), 3), 0]])],
    ["the largest elements", 2, (x) => topK(x, 2).values],
    ["a window of a convolution", 3, (x) => conv1d(x.reshape([1, 1, -1]), zeros([1, 1, 3]))],
    ["a window of a maximum", 2, (x) => maxPool1d(x.reshape([1, 1, -1]), { kernel: 2, stride: 4 })],
    [
      "a slice in the body of a loop",
      2,
      (x) =>
        scan((_, [row]) => ({ carry: [], outputs: [add(slice(x, 0, 0, 2), row)] }), { carry: [], sequences: [x] }).outputs[0],
    ],
  ];
  it("may be told by quotients of what could be negative", async () => {
    const half = (x: Tensor) => floorDivDims(subDims(x.size(0), 3), 2);
    await using program = compile(({ x }) => ({ z: sum(zeros([half(x)])), y: x }), { x: float32("seq") }, { engine });
    for (const enough of [3, 4, 7]) expect((await program({ x: ones(enough) })).z.item()).toBe(0);
    await expect(program({ x: ones(2) })).rejects.toMatchObject({ code: "SHAPE", message: expect.stringContaining("seq = 2") });
  });

  it("may be what a branch is chosen by", async () => {
    const rows = (x: Tensor) => numberOfElements([x.size(0)], "int64");
    await using program = compile(
      ({ x, sure }) => ({
        z: cond(
          or(sure, greaterEqual(rows(x), 3)),
          () => [sum(slice(x, 0, 0, 3))],
          () => [sum(x)],
        )[0],
      }),
      { x: float32("seq"), sure: bool() },
      { engine },
    );
    expect((await program({ x: ones(5), sure: 0 })).z.item()).toBe(3);
    expect((await program({ x: ones(2), sure: 0 })).z.item()).toBe(2);
    await expect(program({ x: ones(2), sure: 1 })).rejects.toMatchObject({ name: expect.stringMatching(/Error/) });
  });

  it.each(cases)("must have room for %s", async (_, least, make) => {
    await using program = compile(({ x }) => ({ z: sum(make(x)) }), { x: float32("seq") }, { engine });
    for (const enough of [least, least + 2]) await program({ x: ones(enough) });
    await expect(program({ x: ones(least - 1) })).rejects.toMatchObject({
      code: "SHAPE",
      message: expect.stringContaining(`seq = ${least - 1}`),
    });
  });

  it("that the data decides about are checked while the program runs", async () => {
    const chosen = (x: Tensor) => gather(x, squeeze(nonZero(greater(x, 0)), 0));
    await using program = compile(
      ({ x, y }) => ({ z: add(slice(chosen(x), 0, 0, 3), y), first: slice(y, 0, 0, chosen(x).shape[0] as Dim) }),
      { x: float32("seq"), y: float32(3) },
      { engine },
    );
    const { z, first } = await program({ x: [1, -1, 2, 3], y: ones(3) });
    expect([...z.data]).toEqual([2, 3, 4]);
    expect([...first.data]).toEqual([1, 1, 1]);
    await expect(program({ x: [-1, 2, -3], y: ones(3) })).rejects.toMatchObject({
      code: "SHAPE",
      message: expect.stringMatching(/slice: 3 elements from 0 do not lie inside axis 0 of \[(count|1)\]/),
    });
    await expect(program({ x: ones(4), y: ones(3) })).rejects.toMatchObject({
      code: "SHAPE",
      message: expect.stringMatching(/slice: (count|4) elements from 0 do not lie inside axis 0 of \[3\]/),
    });
  });
});

it("are an error at once where no size could be right", () => {
  expect(() => compile(({ x }) => ({ z: slice(x, 0, 0, subDims(-1, x.size(0))) }), { x: float32("seq") })).toThrow(
    expect.objectContaining({ code: "SHAPE", message: expect.stringMatching(/do not lie inside axis 0/) }),
  );
});
