/**
 * What ONNX Runtime's CPU provider prefers. With these forms its own optimizer has nothing left to do for a training step,
 * so sessions are made without it (see `node.ts`).
 */

import { type Dim, isStatic, mulDims, productOf, type Shape } from "../../graph/dim.js";
import { onnxDType } from "../../graph/dtype.js";
import { isZeros } from "../../graph/gradient.js";
import type { OnnxBuilder, OnnxValue } from "../../graph/onnx-face.js";
import type { OnnxFace } from "../../graph/op.js";
import { operator } from "../../graph/op.js";
import type { Attributes, Tensor } from "../../graph/tensor.js";
import type { Lowering } from "../engine.js";

const contrib = { domain: "com.microsoft" };

const standard =
  (name: string): OnnxFace<Attributes> =>
  (node, inputs, context) =>
    operator(name).onnx(node, inputs, context);

/** Takes operands transposed, and a factor, without a pass over memory for either. */
const matmul: OnnxFace<Attributes> = (node, inputs, context) => {
  const {
    transposeA,
    transposeB,
    scale = 1,
  } = context.attributes as { transposeA: boolean; transposeB: boolean; scale?: number };
  const fused = transposeA || transposeB || scale !== 1;
  if (!fused || context.inputs[0]?.dtype !== "float32") return standard("matmul")(node, inputs, context);
  const attributes = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: scale } };
  return node("FusedMatMul", inputs, attributes, contrib);
};

/** One pass instead of two; `QuickGelu` is x · sigmoid(alpha · x). */
const silu: OnnxFace<Attributes> = (node, inputs, context) =>
  context.inputs[0]?.dtype === "float32"
    ? node("QuickGelu", inputs, { alpha: { float: 1 } }, contrib)
    : standard("silu")(node, inputs, context);

/** One pass instead of five; its second output is the factor that the gradient needs. */
const rmsNorm: OnnxFace<Attributes> = (node, inputs, context) => {
  const [x, weight] = context.inputs;
  if (!weight || x?.dtype !== "float32" || !(x.shape.every(isStatic) && productOf(x.shape) !== 0))
    return standard("rmsNorm")(node, inputs, context);
  const { epsilon } = context.attributes as { epsilon: number };
  const attributes = { axis: -1, epsilon: { float: epsilon }, stash_type: 1 };
  return context.used(1)
    ? node.many("SimplifiedLayerNormalization", inputs, 2, attributes)
    : node("SimplifiedLayerNormalization", inputs, attributes);
};

/** One pass instead of seven. The standard form splits and concatenates along the last axis, where copies are short. */
const rope: OnnxFace<Attributes> = (node, inputs, context) => {
  const [x, cos, sin] = context.inputs as readonly [Tensor, Tensor, Tensor];
  const fits =
    x.rank === 4 &&
    x.dtype === "float32" &&
    cos.rank === 2 &&
    sin.rank === 2 &&
    cos.shape[0] === x.shape[2] &&
    sin.shape[0] === x.shape[2];
  const whole = x.shape.every(isStatic) && productOf(x.shape) !== 0 && cos.shape[1] === sin.shape[1];
  if (!fits || !whole || cos.shape[1] === 1) return standard("rope")(node, inputs, context);
  const { interleaved } = context.attributes as { interleaved: boolean };
  const [values, cosines, sines] = inputs as readonly [OnnxValue, OnnxValue, OnnxValue];
  return node("RotaryEmbedding", [values, node.int64s([0]), cosines, sines], { interleaved: Number(interleaved) }, contrib);
};

/**
 * Rows below which adding by a product with one-hot rows is faster: 0.20 ms instead of 0.38 for [65, 128] += [768, 128], but
 * 0.58 instead of 0.39 for 256 rows.
 */
const FEW_ROWS = 128;

/**
 * Into a table of zeros: a product where rows are few; else `ScatterElements` over the flat table, whose one long axis it
 * walks 4 times faster than rows (12 ms instead of 47 for [6400, 512] += [4096, 512]).
 */
const scatterAdd: OnnxFace<Attributes> = (node, inputs, context) => {
  const [target, indices, updates] = context.inputs as readonly [Tensor, Tensor, Tensor];
  const [table, chosen, added] = inputs as readonly [OnnxValue, OnnxValue, OnnxValue];
  const [rows, width] = target.shape;
  const count = productOf(indices.shape);
  if (
    target.rank !== 2 ||
    target.dtype !== "float32" ||
    !isStatic(rows as Dim) ||
    !isStatic(width as Dim) ||
    count === 0 ||
    rows === 0 ||
    width === 0
  )
    return standard("scatterAdd")(node, inputs, context);
  const reshaped = (value: OnnxValue, shape: Shape) => node("Reshape", [value, node.dims(shape)], { allowzero: 1 });
  if (isZeros(target) && (rows as number) <= FEW_ROWS) {
    const flat = updates.rank === 2 ? added : reshaped(added, [count, width as Dim]);
    return node(
      "FusedMatMul",
      [oneHot(node, chosen, [count], rows as number), flat],
      { transA: 1, transB: 0, alpha: { float: 1 } },
      contrib,
    );
  }
  const columns = node.constant(
    "int32",
    [1, width as number],
    Array.from({ length: width as number }, (_, column) => column),
  );
  const firstOfRow = node("Mul", [
    reshaped(node("Cast", [chosen], { to: onnxDType("int32") }), [count, 1]),
    node.scalar("int32", width as number),
  ]);
  const sums = node(
    "ScatterElements",
    [
      isZeros(target)
        ? lateZeros(node, added, updates, [mulDims(rows as Dim, width as Dim)])
        : reshaped(table, [mulDims(rows as Dim, width as Dim)]),
      reshaped(node("Add", [firstOfRow, columns]), [mulDims(count, width as Dim)]),
      reshaped(added, [mulDims(count, width as Dim)]),
    ],
    { axis: 0, reduction: "add" },
  );
  return reshaped(sums, target.shape);
};

/**
 * Zeros that are made when the updates are there, and written over by whoever adds to them. As a constant, ONNX Runtime would keep a whole
 * table of them for as long as the session lives, and copy it in each run: 113 MB for a vocabulary of 49,152, 576 wide.
 */
function lateZeros(node: OnnxBuilder, value: OnnxValue, { rank }: Tensor, shape: Shape): OnnxValue {
  const starts = node.int64s(Array.from({ length: rank }, () => 0));
  const ends = node.int64s(Array.from({ length: rank }, () => 1));
  const first = node("Slice", [value, starts, ends]);
  // False for NaN too.
  const zero = node("Cast", [node("Less", [first, first])], { to: onnxDType("float32") });
  return node("Expand", [node("Reshape", [zero, node.int64s([1])]), node.dims(shape)]);
}

/** ONNX Runtime has OneHot with a float result for int64 indices alone. */
function oneHot(node: OnnxBuilder, indices: OnnxValue, shape: Tensor["shape"], depth: number): OnnxValue {
  const flat = node("Reshape", [node("Cast", [indices], { to: onnxDType("int64") }), node.dims(shape)], { allowzero: 1 });
  return node("OneHot", [flat, node.scalar("int64", depth), node.constant("float32", [2], [0, 1])], { axis: -1 });
}

export const cpuLowering: Lowering = { faces: { matmul, silu, rmsNorm, rope, scatterAdd }, passes: [], widensLate: true };
