import { describe, expect, it } from "vitest";
import { customGradient, stopGradient } from "./custom-gradient.js";
import { grad } from "./gradient.js";
import { input } from "./leaves.js";
import { add, mul, round, sin, sum } from "./ops/index.js";
import type { Tensor } from "./tensor.js";
import { numbersOf } from "./testing/values.js";

const scalar = (name: string): Tensor => input(name, "float32", []);

describe("customGradient", () => {
  it("computes forward and takes the gradient from backward", () => {
    const straightThrough = customGradient(
      (x: Tensor) => [round(x)],
      ({ gradients: [dy] }) => [dy],
    );
    const x = input("x", "float32", [3]);
    const [y] = straightThrough(x);
    expect(numbersOf([y, ...grad(sum(mul(y, y)), [x])], { x: [0.2, 1.7, -2.4] })).toEqual([
      [0, 2, -2],
      [0, 4, -4],
    ]);
  });

  it("gives backward the inputs, the outputs and a gradient for each output", () => {
    const both = customGradient(
      (a: Tensor, b: Tensor) => [mul(a, b), add(a, b)],
      ({ inputs: [a, b], outputs: [product], gradients: [dProduct, dSum] }) => [
        add(mul(dProduct, b), dSum),
        mul(dSum, add(product, a)),
      ],
    );
    const [a, b] = [scalar("a"), scalar("b")];
    const [product, total] = both(a, b);
    expect(numbersOf(grad(add(mul(product, 10), total), [a, b]), { a: 2, b: 3 })).toEqual([[31], [8]]);
    // Only one of the results is used: the gradient of the other is zero.
    expect(numbersOf(grad(product, [a, b]), { a: 2, b: 3 })).toEqual([[3], [0]]);
  });

  it("leaves tensors that forward reads from outside without a gradient", () => {
    const [x, hidden] = [scalar("x"), scalar("hidden")];
    const [y] = customGradient(
      (t: Tensor) => [mul(t, hidden)],
      ({ gradients: [dy] }) => [dy],
    )(x);
    expect(numbersOf(grad(y, [x, hidden]), { x: 2, hidden: 7 })).toEqual([[1], [0]]);
  });

  it("differentiates backward for gradients of gradients", () => {
    const x = scalar("x");
    const [y] = customGradient(
      (t: Tensor) => [sin(t)],
      ({ inputs: [t], gradients: [dy] }) => [mul(dy, mul(t, mul(t, t)))],
    )(x);
    const [first] = grad(y, [x]);
    expect(numbersOf([first as Tensor, ...grad(first as Tensor, [x])], { x: 2 })).toEqual([[8], [12]]);
  });

  it("lets backward leave a gradient out, but not forget one", () => {
    const [a, b] = [scalar("a"), scalar("b")];
    const make = (gradients: (dy: Tensor) => readonly (Tensor | undefined)[]) =>
      customGradient(
        (x: Tensor, y: Tensor) => [mul(x, y)],
        ({ gradients: [dy] }) => gradients(dy),
      )(a, b)[0];
    expect(
      numbersOf(
        grad(
          make((dy) => [undefined, dy]),
          [a, b],
        ),
        { a: 3, b: 4 },
      ),
    ).toEqual([[0], [1]]);
    expect(() =>
      grad(
        make((dy) => [dy]),
        [a, b],
      ),
    ).toThrow(/gave 1 gradients for 2 inputs/);
  });
});

describe("stopGradient", () => {
  it("is the value, without what lies behind it", () => {
    const x = scalar("x");
    const y = add(mul(stopGradient(mul(x, x)), x), x);
    expect(numbersOf([y, ...grad(y, [x])], { x: 3 })).toEqual([[30], [10]]);
  });
});
