/** Matrix products. */

import { ShapeError } from "../../errors.js";
import { broadcastShapes, type Dim, formatShape, productOf, type Shape, sameDim } from "../dim.js";
import type { OnnxBuilder, OnnxValue } from "../onnx-face.js";
import { defineOp, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { unbroadcast } from "./broadcasting.js";
import { forEachIndex, map, reader, sizeOf } from "./reference-math.js";
import { reshape, swapAxes } from "./shape.js";

export interface MatmulOptions {
  /** Use aᵀ: the last two axes of a are swapped. Default false. */
  readonly transposeA?: boolean;
  /** Use bᵀ: the last two axes of b are swapped. Default false. */
  readonly transposeB?: boolean;
  /** Factor on the product; engines have it for free. Default 1. */
  readonly scale?: number;
}

interface MatmulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Left out where it is 1. */
  readonly scale?: number;
}

const attributesOf = (transposeA: boolean, transposeB: boolean, scale: number): MatmulAttributes =>
  scale === 1 ? { transposeA, transposeB } : { transposeA, transposeB, scale };

const matmulOp = defineOp<MatmulAttributes>({
  name: "matmul",
  arity: 2,
  accepts: "float",
  shape([a, b], { transposeA, transposeB }) {
    const [rows, inner] = matrixSize(a.shape, transposeA);
    const [innerB, columns] = matrixSize(b.shape, transposeB);
    if (!sameDim(inner, innerB))
      throw new ShapeError(
        `the inner sizes ${String(inner)} and ${String(innerB)} differ: ` +
          `${formatShape(a.shape)}${transposeA ? "ᵀ" : ""} · ${formatShape(b.shape)}${transposeB ? "ᵀ" : ""}`,
      );
    return [...broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2)), rows, columns];
  },
  vjp: ({ inputs: [a, b], gradients: [dy], attributes }) => [
    leftGradient(dy, a, b, attributes),
    rightGradient(dy, a, b, attributes),
  ],
  onnx(node, [a, b], { inputs, attributes: { transposeA, transposeB, scale = 1 } }) {
    const [{ rank: rankA, dtype }, { rank: rankB }] = inputs as readonly [Tensor, Tensor];
    const y = node("MatMul", [transposeA ? transposed(node, a, rankA) : a, transposeB ? transposed(node, b, rankB) : b]);
    return scale === 1 ? y : node("Mul", [y, node.scalar(dtype, scale)]);
  },
  reference: ([a, b], { transposeA, transposeB, scale = 1 }, { outputs }) =>
    map(product(a, b, transposeA, transposeB, outputs[0]?.shape as readonly number[]), (value) => value * scale),
  examples: (make) => {
    const flags = (transposeA: boolean, transposeB: boolean, scale = 1) => ({
      attributes: attributesOf(transposeA, transposeB, scale),
    });
    // ONNX Runtime leaves the products of a batch unset, except the first, where the inner size is 0, and does not broadcast
    // empty axes (both for a batch on the right or with transposed operands).
    const filled = { empty: false };
    return [
      { inputs: [make.float(["a", "b"]), make.float(["b", "c"])], ...flags(false, false) },
      { inputs: [make.float(["b", "a"]), make.float(["c", "b"])], ...flags(true, true) },
      { inputs: [make.float(["d", "a", "b"]), make.float(["b", "c"])], ...flags(false, false) },
      { inputs: [make.float(["d", "a", "b"]), make.float(["c", "b"])], ...flags(false, true, 0.5) },
      { inputs: [make.float(["d", "b", "a"]), make.float(["b", "c"])], ...flags(true, false), ...filled },
      { inputs: [make.float(["a", "b"]), make.float(["d", "b", "c"])], ...flags(false, false), ...filled },
      { inputs: [make.float(["b", "a"]), make.float(["d", 2, "c", "b"])], ...flags(true, true, -2), ...filled },
      { inputs: [make.float(["d", 1, "a", "b"]), make.float([3, "c", "b"])], ...flags(false, true), ...filled },
      { inputs: [make.float(["d", 2, "b", "a"]), make.float(["d", 2, "b", "c"])], ...flags(true, false), ...filled },
    ];
  },
});

/**
 * scale · a · b over the last two axes; leading axes broadcast.
 *
 * a [..., m, k] ([..., k, m] with `transposeA`), b [..., k, n] ([..., n, k] with `transposeB`) → [..., m, n].
 * As in NumPy, an operand of rank 1 is a row on the left and a column on the right, and its axis of size 1 is left out of the result.
 * Throws a ShapeError when the inner sizes differ or the leading axes do not broadcast, a DTypeError unless both are floats of one dtype.
 */
export function matmul(a: Tensor, b: Tensor, { transposeA = false, transposeB = false, scale = 1 }: MatmulOptions = {}): Tensor {
  if ((a.rank === 1 && transposeA) || (b.rank === 1 && transposeB))
    throw new ShapeError(`matmul: ${(a.rank === 1 && transposeA ? a : b).describe()} is a vector: it has nothing to transpose.`);
  const y = matmulOp(
    a.rank === 1 ? reshape(a, [1, ...a.shape]) : a,
    b.rank === 1 ? reshape(b, [...b.shape, 1]) : b,
    attributesOf(transposeA, transposeB, scale),
  );
  if (a.rank !== 1 && b.rank !== 1) return y;
  return reshape(y, [...y.shape.slice(0, -2), ...(a.rank === 1 ? [] : [y.size(-2)]), ...(b.rank === 1 ? [] : [y.size(-1)])]);
}

/** Rows and columns of the matrices in the last two axes, as they enter the product. */
function matrixSize(shape: Shape, transpose: boolean): readonly [Dim, Dim] {
  const [rows, columns] = shape.slice(-2);
  if (rows === undefined || columns === undefined)
    throw new ShapeError(`operands need at least 2 axes, but one has shape ${formatShape(shape)}`);
  return transpose ? [columns, rows] : [rows, columns];
}

/**
 * With A = op(a) and B = op(b): dA = dy · Bᵀ. A transposed operand asks for dAᵀ, which is a product with the flags exchanged.
 * Where a alone is a matrix, the sum over the batch of b is part of one product: the inner size n grows to ...·n.
 */
function leftGradient(dy: Tensor, a: Tensor, b: Tensor, { transposeA, transposeB, scale = 1 }: MatmulAttributes): Tensor {
  if (a.rank === 2 && b.rank > 2) {
    const [dyRows, bRows] = [asRows(swapAxes(dy, -2, -1)), asRows(transposeB ? b : swapAxes(b, -2, -1))];
    return transposeA ? crossProduct(bRows, dyRows, scale) : crossProduct(dyRows, bRows, scale);
  }
  const da = transposeA
    ? matmulOp(b, dy, attributesOf(transposeB, true, scale))
    : matmulOp(dy, b, attributesOf(false, !transposeB, scale));
  return unbroadcast(da, a.shape);
}

/**
 * dB = Aᵀ · dy. Where b alone is a matrix (a weight), the sum over the batch of a is part of one product: the inner size m grows
 * to ...·m. Products that are summed afterwards would need memory for a weight gradient of each batch element.
 */
function rightGradient(dy: Tensor, a: Tensor, b: Tensor, { transposeA, transposeB, scale = 1 }: MatmulAttributes): Tensor {
  if (b.rank === 2 && a.rank > 2) {
    const [dyRows, aRows] = [asRows(dy), asRows(transposeA ? swapAxes(a, -2, -1) : a)];
    return transposeB ? crossProduct(dyRows, aRows, scale) : crossProduct(aRows, dyRows, scale);
  }
  const db = transposeB
    ? matmulOp(dy, a, attributesOf(true, transposeA, scale))
    : matmulOp(a, dy, attributesOf(!transposeA, false, scale));
  return unbroadcast(db, b.shape);
}

/** scale · aᵀ · b */
const crossProduct = (a: Tensor, b: Tensor, scale: number): Tensor => matmulOp(a, b, attributesOf(true, false, scale));

/** [..., m, n] → [...·m, n] */
const asRows = (x: Tensor): Tensor => reshape(x, [productOf(x.shape.slice(0, -1)), x.size(-1)]);

function transposed(node: OnnxBuilder, x: OnnxValue, rank: number): OnnxValue {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  return node("Transpose", [x], { perm: [...axes.slice(0, -2), rank - 1, rank - 2] });
}

function product(
  a: ReferenceArray,
  b: ReferenceArray,
  transposeA: boolean,
  transposeB: boolean,
  shape: readonly number[],
): ReferenceArray {
  const [rows, columns] = shape.slice(-2) as [number, number];
  const inner = a.shape.at(transposeA ? -2 : -1) as number;
  // Where the matrix of each batch index begins: read off arrays that hold the positions of the matrices themselves.
  const starts = (x: ReferenceArray) => {
    const batch = x.shape.slice(0, -2);
    const matrix = sizeOf(x.shape.slice(-2));
    return reader({ shape: batch, data: Float64Array.from({ length: sizeOf(batch) }, (_, i) => i * matrix) });
  };
  const [startA, startB] = [starts(a), starts(b)];
  const [rowStepA, innerStepA] = transposeA ? [1, rows] : [inner, 1];
  const [innerStepB, columnStepB] = transposeB ? [1, inner] : [columns, 1];
  const data = new Float64Array(sizeOf(shape));
  let position = 0;
  forEachIndex(shape.slice(0, -2), (index) => {
    const [originA, originB] = [startA(index), startB(index)];
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        let total = 0;
        for (let k = 0; k < inner; k++)
          total +=
            (a.data[originA + row * rowStepA + k * innerStepA] as number) *
            (b.data[originB + k * innerStepB + column * columnStepB] as number);
        data[position++] = total;
      }
  });
  return { shape, data };
}
