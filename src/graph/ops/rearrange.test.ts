import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ArgumentError, ShapeError } from "../../errors.js";
import { formatShape, mulDims, symbol } from "../dim.js";
import { constant, input } from "../leaves.js";
import type { Tensor } from "../tensor.js";
import { numbersOf } from "../testing/values.js";
import { rearrange, reduce, repeat } from "./rearrange.js";
import { reshape, transpose } from "./shape.js";

const values = (tensor: Tensor): readonly number[] => numbersOf([tensor])[0] as number[];
const counting = (...shape: number[]): Tensor =>
  reshape(constant(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i)), shape);
const [batch, seq, width] = [symbol("batch"), symbol("seq"), symbol("width")];
const x = input("x", "float32", [batch, seq, mulDims(width, 4)]);

/** The message of the error that `run` throws. */
function messageOf(run: () => unknown, kind: typeof ArgumentError | typeof ShapeError = ArgumentError): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(kind);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

describe("rearrange", () => {
  it("splits attention heads and merges them", () => {
    const heads = rearrange(x, "b t (h d) -> b h t d", { h: 4 });
    expect(formatShape(heads.shape)).toBe("[batch, 4, seq, width]");
    const merged = rearrange(heads, "b h t d -> b t (h d)");
    expect(merged.shape).toEqual(x.shape);
    expect(values(rearrange(counting(1, 2, 4), "b t (h d) -> b h t d", { h: 2 }))).toEqual([0, 1, 4, 5, 2, 3, 6, 7]);
  });

  it("takes a bracket apart with the leftmost axis slowest", () => {
    const patches = rearrange(counting(1, 4, 4), "c (h p) (w q) -> (h w) (p q c)", { p: 2, q: 2 });
    expect(values(patches)).toEqual([0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
  });

  it("orders axes as transpose does", () => {
    const names = ["a", "b", "c", "d"];
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), (order) => {
        const y = counting(2, 3, 1, 2);
        const named = rearrange(y, `a b c d -> ${order.map((axis) => names[axis]).join(" ")}`);
        expect(values(named)).toEqual(values(transpose(y, order)));
        expect(named.shape).toEqual(transpose(y, order).shape);
      }),
    );
  });

  it("lets '...' stand for any number of axes", () => {
    expect(formatShape(rearrange(x, "b ... -> ... b").shape)).toBe("[seq, 4·width, batch]");
    expect(rearrange(x, "b ... -> b (...)").shape).toEqual([batch, mulDims(seq, width, 4)]);
    expect(formatShape(rearrange(x, "... t d -> ... d t").shape)).toBe("[batch, 4·width, seq]");
    expect(rearrange(x, "... b t d -> b t d ...")).toBe(x);
    expect(values(rearrange(counting(2, 2, 1), "a ... -> ... a"))).toEqual([0, 2, 1, 3]);
  });

  it("adds and drops axes of size 1", () => {
    expect(formatShape(rearrange(x, "b t d -> b 1 t d 1").shape)).toBe("[batch, 1, seq, 4·width, 1]");
    expect(formatShape(rearrange(input("y", "float32", [1, seq, 1]), "1 t () -> t").shape)).toBe("[seq]");
    expect(rearrange(constant([5]), "1 ->").shape).toEqual([]);
    expect(rearrange(constant(5), "-> 1 1").shape).toEqual([1, 1]);
  });

  it("says where a pattern is wrong", () => {
    expect(messageOf(() => rearrange(x, "b t (h d) -> b h t", { h: 4 }))).toBe(
      "rearrange: the axis 'd' stands on the left only; rearrange keeps every axis (reduce removes some)\n" +
        "  b t (h d) -> b h t\n" +
        "         ^",
    );
    const caret = (pattern: string, problem: RegExp, column: number) => {
      const message = messageOf(() => rearrange(x, pattern));
      expect(message).toMatch(problem);
      expect(message.split("\n").at(-1)).toBe(`${" ".repeat(2 + column)}^`);
    };
    caret("b t d -> b t d e", /'e' stands on the right only/, 15);
    caret("b t d", /form 'left -> right'/, 0);
    caret("b t d -> d t b -> b", /one arrow/, 15);
    caret("b t t -> b t", /'t' stands twice/, 4);
    caret("b (t d -> b t d", /never closed/, 2);
    caret("b t) d -> b t d", /never opened/, 3);
    caret("b (t (d)) -> b t d", /brackets cannot stand in brackets/, 5);
    caret("b, t d -> b t d", /',' is not the name of an axis/, 1);
    caret("b t d -> b t d ...", /'...' stands on the right only/, 15);
    caret("b (... t) -> b t ...", /cannot stand in brackets/, 2);
    caret("b (t d) -> b t d", /names 2 axes, but the tensor has 3/, 0);
    caret("a b c d ... -> a b c d ...", /at least 4 axes, but the tensor has 3/, 0);
    caret("b t (h d) -> b t h d", /sizes of 'h' and 'd' are both unknown/, 7);
    caret("b t (h 2) -> b t h", /the axis '2' stands on the left only/, 7);
  });

  it("says which size does not fit", () => {
    const wrong = messageOf(() => rearrange(counting(2, 6), "a (h d) -> a h d", { h: 4 }), ShapeError);
    expect(wrong).toMatch(/axis 1 of \[2, 6\] has 6 elements, which does not divide by 4\n.*\n {7}\^/);
    expect(messageOf(() => rearrange(x, "b t (h d) -> b t h d", { h: 3 }), ShapeError)).toMatch(
      /4·width elements, which does not divide by 3/,
    );
    expect(messageOf(() => rearrange(counting(2, 6), "a (h d) -> a h d", { h: 2, d: 2 }), ShapeError)).toMatch(
      /has 6 elements, but the pattern says 4/,
    );
    expect(messageOf(() => rearrange(counting(2, 6), "1 b -> b"), ShapeError)).toMatch(
      /axis 0 of \[2, 6\] has 2 elements, but the pattern says 1/,
    );
    expect(messageOf(() => rearrange(x, "b t d -> d t b", { h: 3 }))).toMatch(/a size is given for 'h'/);
    expect(messageOf(() => rearrange(x, "b t d -> d t b", { t: 1.5 }))).toMatch(/size of 't' must be a whole number/);
  });
});

describe("reduce", () => {
  it("reduces what stands on the left only", () => {
    const y = counting(2, 3);
    expect(values(reduce(y, "a b -> a", "sum"))).toEqual([3, 12]);
    expect(values(reduce(y, "a b -> b", "mean"))).toEqual([1.5, 2.5, 3.5]);
    expect(values(reduce(y, "a b -> b 1 a", "max"))).toEqual(values(transpose(y)));
    expect(values(reduce(y, "... ->", "max"))).toEqual([5]);
    expect(formatShape(reduce(x, "b t (h d) -> b h", "min", { h: 4 }).shape)).toBe("[batch, 4]");
  });

  it("pools over axes written as numbers", () => {
    expect(values(reduce(counting(6), "(t 2) -> t", "max"))).toEqual([1, 3, 5]);
    expect(values(reduce(counting(2, 2, 3), "... (1 3) -> ...", "prod"))).toEqual([0, 60, 336, 990]);
  });

  it("refuses new axes and unknown reductions", () => {
    expect(messageOf(() => reduce(x, "b t d -> b e", "sum"))).toMatch(/'e' stands on the right only; reduce makes no new axes/);
    expect(messageOf(() => reduce(x, "b t d -> b", "median" as "mean"))).toMatch(
      /'median' is not one of sum, mean, max, min, prod/,
    );
  });
});

describe("repeat", () => {
  it("repeats along axes that stand on the right only", () => {
    const y = constant([1, 2]);
    expect(values(repeat(y, "d -> t d", { t: 2 }))).toEqual([1, 2, 1, 2]);
    expect(values(repeat(y, "d -> (d t)", { t: 2 }))).toEqual([1, 1, 2, 2]);
    expect(values(repeat(y, "d -> (2 d) 1"))).toEqual([1, 2, 1, 2]);
    expect(formatShape(repeat(x, "b ... d -> b h ... d", { h: seq }).shape)).toBe("[batch, seq, seq, 4·width]");
  });

  it("needs to know how often", () => {
    expect(messageOf(() => repeat(x, "b t d -> b t d n"))).toMatch(/size of the new axis 'n' must be given\n.*\n {17}\^/);
    expect(messageOf(() => repeat(x, "b t d -> b t"))).toMatch(/repeat keeps every axis/);
  });
});
