/**
 * What ONNX Runtime's CPU provider prefers. With these forms its own optimizer has nothing left to do for a training step,
 * so sessions are made without it (see `node.ts`).
 */

import { isStatic, productOf } from "../../graph/dim.js";
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
 * Rows below which adding by a product with one-hot rows is faster: `ScatterElements` adds one element after the other on
 * one thread (about 10 ns each), the product costs 2 · rows floating-point operations for each of them.
 */
const FEW_ROWS = 512;

const scatterAdd: OnnxFace<Attributes> = (node, inputs, context) => {
  const [target, indices, updates] = context.inputs as readonly [Tensor, Tensor, Tensor];
  const [rows, width] = target.shape;
  const count = productOf(indices.shape);
  const product =
    target.rank === 2 &&
    isZeros(target) &&
    target.dtype === "float32" &&
    isStatic(rows as number) &&
    (rows as number) <= FEW_ROWS;
  if (!product || count === 0 || width === 0 || rows === 0) return standard("scatterAdd")(node, inputs, context);
  const chosen = oneHot(node, inputs[1] as OnnxValue, [count], rows as number); // [count, rows]
  const flat =
    updates.rank === 2
      ? (inputs[2] as OnnxValue)
      : node("Reshape", [inputs[2], node.dims([count, width as number])], { allowzero: 1 });
  return node("FusedMatMul", [chosen, flat], { transA: 1, transB: 0, alpha: { float: 1 } }, contrib);
};

/** ONNX Runtime has OneHot with a float result for int64 indices alone. */
function oneHot(node: OnnxBuilder, indices: OnnxValue, shape: Tensor["shape"], depth: number): OnnxValue {
  const flat = node("Reshape", [node("Cast", [indices], { to: onnxDType("int64") }), node.dims(shape)], { allowzero: 1 });
  return node("OneHot", [flat, node.scalar("int64", depth), node.constant("float32", [2], [0, 1])], { axis: -1 });
}

export const cpuLowering: Lowering = { faces: { matmul, silu, rmsNorm, rope, scatterAdd }, passes: [] };
