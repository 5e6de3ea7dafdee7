import { describe, expect, it } from "vitest";
import { symbol } from "./dim.js";
import { grad, partialVectorJacobian, vectorJacobian } from "./gradient.js";
import { nodesOf } from "./graph.js";
import { constant, input } from "./leaves.js";
import { applyOp, type OpDefinition, operator } from "./op.js";
import { add, broadcastTo, cast, exp, matmul, mul, reshape, sigmoid, sin, split, sum, tanh } from "./ops/index.js";
import { nodeIdMark, type Tensor } from "./tensor.js";
import { gradientProblems } from "./testing/finite-differences.js";
import { graphOf, inputsOf, numbersOf } from "./testing/values.js";

const scalar = (name: string): Tensor => input(name, "float32", []);

describe("grad", () => {
  it("follows the chain rule", () => {
    const x = scalar("x");
    const y = sin(mul(x, x));
    expect(numbersOf(grad(y, [x]), { x: 0.7 })[0]?.[0]).toBeCloseTo(2 * 0.7 * Math.cos(0.49), 12);
  });

  it("sums over every use of a value", () => {
    const x = scalar("x");
    const y = add(mul(x, 3), mul(x, x));
    expect(numbersOf(grad(y, [x]), { x: 5 })).toEqual([[13]]);
  });

  it("gives gradients of gradients of gradients", () => {
    const x = scalar("x");
    let y = exp(mul(x, 2));
    for (let order = 0; order < 4; order++) y = grad(y, [x])[0] as Tensor;
    expect(numbersOf([y], { x: 0.3 })[0]?.[0]).toBeCloseTo(16 * Math.exp(0.6), 10);
  });

  it("is zero where the loss does not depend on the tensor", () => {
    const x = scalar("x");
    const other = input("other", "float32", [2, symbol("n")]);
    const [gradient] = grad(mul(x, x), [other]);
    expect(gradient?.shape).toEqual(other.shape);
    expect(
      numbersOf([gradient as Tensor, other], {
        x: 1,
        other: [
          [1, 2, 3],
          [4, 5, 6],
        ],
      })[0],
    ).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("is taken by the loss itself and by values on the way", () => {
    const x = scalar("x");
    const y = mul(x, x);
    const loss = mul(y, 3);
    expect(numbersOf(grad(loss, [loss, y]), { x: 2 })).toEqual([[1], [3]]);
  });

  it("is the total derivative: a value on the way does not hide what lies behind it", () => {
    const x = scalar("x");
    const behind = mul(x, 2);
    const y = mul(behind, behind);
    const loss = mul(y, y);
    const together = numbersOf(grad(loss, [x, behind, y]), { x: 0.5 });
    const apart = [x, behind, y].map((tensor) => numbersOf(grad(loss, [tensor]), { x: 0.5 })[0]);
    expect(together).toEqual(apart);
  });

  it("flows only through the outputs that are used of an operator with several", () => {
    const x = input("x", "float32", [6]);
    const [, middle] = split(x, 3, 0);
    const loss = sum(mul(middle as Tensor, middle as Tensor));
    expect(numbersOf(grad(loss, [x]), { x: [1, 2, 3, 4, 5, 6] })).toEqual([[0, 0, 6, 8, 0, 0]]);
  });

  it("agrees with differences in a small network, twice differentiated", () => {
    const x = input("x", "float32", [3, 2]);
    const w = input("w", "float32", [2, 4]);
    const hidden = tanh(matmul(x, w));
    const loss = sum(mul(hidden, sigmoid(hidden)));
    const [dx] = grad(loss, [x]);
    const graph = graphOf([sum(mul(dx as Tensor, dx as Tensor))]);
    const inputs = inputsOf(graph, {
      x: [
        [0.1, -0.4],
        [1.2, 0.3],
        [-0.8, 0.5],
      ],
      w: [
        [0.3, -0.2, 0.9, 0.5],
        [-0.7, 0.1, 0.4, -1.1],
      ],
    });
    expect(gradientProblems(graph, inputs, ["x", "w"])).toEqual([]);
  });

  it("works with symbolic sizes", () => {
    const x = input("x", "float32", [symbol("n")]);
    const loss = sum(mul(x, x));
    const [dx] = grad(loss, [x]);
    expect(numbersOf([dx as Tensor], { x: [1, 2, 3] })).toEqual([[2, 4, 6]]);
    expect(numbersOf([dx as Tensor], { x: [] })).toEqual([[]]);
  });

  it("refuses integers, and losses that are not scalars", () => {
    const ids = input("ids", "int64", [2]);
    expect(() => grad(sum(cast(ids, "float32")), [ids])).toThrow(/int64.*only floats have/);
    expect(() => grad(input("x", "float32", [2]), [])).toThrow(/only a scalar has one/);
  });

  it("stops at casts to whole numbers", () => {
    const x = scalar("x");
    const loss = add(cast(cast(x, "int64"), "float32"), x);
    expect(numbersOf(grad(loss, [x]), { x: 2.5 })).toEqual([[1]]);
  });
});

describe("vectorJacobian", () => {
  it("weights several outputs by their seeds", () => {
    const x = scalar("x");
    const result = vectorJacobian([mul(x, x), mul(x, 5)], [constant(10), constant(1)], [x]);
    expect(numbersOf(result, { x: 3 })).toEqual([[65]]);
  });

  it("adds the seeds of an output that is given twice", () => {
    const x = scalar("x");
    const y = mul(x, x);
    expect(numbersOf(vectorJacobian([y, y], [constant(1), constant(2)], [x]), { x: 3 })).toEqual([[18]]);
  });

  it("names the operator whose vjp has a gradient of another shape or dtype", () => {
    const wrong = (gradient: (dy: Tensor) => Tensor): Tensor => {
      const definition: OpDefinition = {
        ...operator("neg"),
        name: "wrong",
        vjp: ({ gradients: [dy] }) => [gradient(dy as Tensor)],
      };
      return applyOp(definition, [x], {})[0] as Tensor;
    };
    const x = input("x", "float32", [2, 3]);
    expect(() => grad(sum(wrong((dy) => reshape(dy, [6]))), [x])).toThrow(/'wrong' gave a gradient of shape \[6\].*\[2, 3\]/);
    expect(() => grad(sum(wrong((dy) => cast(dy, "float16"))), [x])).toThrow(/'wrong' gave a float16 gradient/);
  });
});

describe("partialVectorJacobian", () => {
  it("says where nothing flows", () => {
    const [x, y] = [scalar("x"), scalar("y")];
    const [dx, dy] = partialVectorJacobian([mul(x, x)], [constant(1)], [x, y]);
    expect(dx).toBeDefined();
    expect(dy).toBeUndefined();
  });

  it("takes what is older than `since` as constant", () => {
    const x = scalar("x");
    const older = mul(x, x);
    const since = nodeIdMark();
    const y = mul(older, x);
    const [total] = vectorJacobian([y], [constant(1)], [x]);
    const [direct] = partialVectorJacobian([y], [constant(1)], [x], { since });
    expect(numbersOf([total as Tensor, direct as Tensor], { x: 2 })).toEqual([[12], [4]]);
  });

  it("does not look behind the oldest target", () => {
    let x = scalar("x");
    for (let i = 0; i < 100; i++) x = mul(x, 1.01);
    const [gradient] = grad(mul(x, x), [x]);
    const loss = mul(x, x);
    const before = nodeIdMark();
    grad(loss, [x]);
    expect(nodeIdMark() - before).toBeLessThan(10);
    expect(nodesOf([gradient as Tensor]).length).toBeGreaterThan(100);
  });

  it("keeps broadcast operands apart", () => {
    const x = input("x", "float32", [3]);
    const wide = broadcastTo(x, [2, 3]);
    expect(numbersOf(grad(sum(mul(wide, wide)), [x]), { x: [1, 2, 3] })).toEqual([[4, 8, 12]]);
  });
});
