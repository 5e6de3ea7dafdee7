/** Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2). */

import { ShapeError } from "../../errors.js";
import { broadcastShapes, type Dim, divideExactly, formatShape, type Shape, sameShape } from "../dim.js";
import type { OnnxValue } from "../onnx-face.js";
import { defineOp } from "../op.js";
import type { Tensor } from "../tensor.js";
import { add, mul, neg, sub } from "./arithmetic.js";
import { unbroadcast } from "./broadcasting.js";
import { generate, reader } from "./reference-math.js";
import { slice, split } from "./shape-slice.js";

export interface RopeOptions {
  /**
   * Which elements form a pair: i and i + headDim/2 (default; Hugging Face's convention), or, interleaved, 2i and 2i + 1 (the
   * paper's).
   */
  readonly interleaved?: boolean;
}

interface RopeAttributes {
  readonly interleaved: boolean;
}

const ropeOp = defineOp<RopeAttributes>({
  name: "rope",
  arity: 3,
  accepts: "float",
  shape([x, cos, sin]) {
    const pairs = halfShape(x.shape);
    if (!sameShape(broadcastShapes(pairs, cos.shape, sin.shape), pairs))
      throw new ShapeError(
        `cos ${formatShape(cos.shape)} and sin ${formatShape(sin.shape)} must broadcast to one angle for each pair, ${formatShape(pairs)}`,
      );
    return x.shape;
  },
  vjp({ inputs: [x, cos, sin], gradients: [dy], attributes }) {
    const [first, second] = pairsOf(x, attributes);
    const [dFirst, dSecond] = pairsOf(dy, attributes);
    return [
      rope(dy, cos, neg(sin), attributes), // the rotation back
      unbroadcast(add(mul(first, dFirst), mul(second, dSecond)), cos.shape),
      unbroadcast(sub(mul(first, dSecond), mul(second, dFirst)), sin.shape),
    ];
  },
  onnx(node, [x, cos, sin], { inputs, attributes: { interleaved } }) {
    const { shape } = inputs[0] as Tensor;
    const everySecond = (start: number) =>
      node("Slice", [x, node.int64s([start]), node.dims(shape.slice(-1)), node.int64s([-1]), node.int64s([2])]);
    const [first, second] = interleaved
      ? ([everySecond(0), everySecond(1)] as const)
      : (node.many("Split", [x], 2, { axis: -1, num_outputs: 2 }) as readonly [OnnxValue, OnnxValue]);
    const rotated = [
      node("Sub", [node("Mul", [first, cos]), node("Mul", [second, sin])]),
      node("Add", [node("Mul", [second, cos]), node("Mul", [first, sin])]),
    ];
    if (!interleaved) return node("Concat", rotated, { axis: -1 });
    const inPairs = rotated.map((part) => node("Unsqueeze", [part, node.int64s([-1])]));
    return node("Reshape", [node("Concat", inPairs, { axis: -1 }), node.dims(shape)], { allowzero: 1 });
  },
  reference([x, cos, sin], { interleaved }) {
    const [readX, readCos, readSin] = [reader(x), reader(cos), reader(sin)];
    const half = (x.shape.at(-1) as number) / 2;
    return generate(x.shape, (index) => {
      const element = index.at(-1) as number;
      const pair = interleaved ? Math.floor(element / 2) : element % half;
      const isFirst = interleaved ? element % 2 === 0 : element < half;
      const at = (last: number) => index.with(-1, last);
      const [first, second] = interleaved ? [at(2 * pair), at(2 * pair + 1)] : [at(pair), at(pair + half)];
      const [c, s] = [readCos(at(pair)), readSin(at(pair))];
      return isFirst ? readX(first) * c - readX(second) * s : readX(second) * c + readX(first) * s;
    });
  },
  examples: (make) => [
    { inputs: [make.float(["a", 2, "b", 6]), make.float(["b", 3]), make.float(["b", 3])], attributes: { interleaved: false } },
    {
      inputs: [make.float(["a", "c", "b", 4]), make.float(["a", 1, "b", 2]), make.float([2])],
      attributes: { interleaved: false },
    },
    { inputs: [make.float(["a", 2, "b", 6]), make.float(["b", 3]), make.float(["b", 3])], attributes: { interleaved: true } },
    { inputs: [make.float(["a", 2]), make.float(["a", 1]), make.float(["a", 1])], attributes: { interleaved: true } },
  ],
});

/**
 * Rotates each pair (x₁, x₂) of elements of a head by the angle of its position: (x₁·cos − x₂·sin, x₂·cos + x₁·sin).
 *
 * x [batch, heads, seq, headDim], cos and sin [seq, headDim/2] or whatever broadcasts to [batch, heads, seq, headDim/2] → the shape
 * of x. Throws a ShapeError when headDim is odd or the angles do not fit.
 */
export const rope = (x: Tensor, cos: Tensor, sin: Tensor, { interleaved = false }: RopeOptions = {}): Tensor =>
  ropeOp(x, cos, sin, { interleaved });

function halfShape(shape: Shape): Shape {
  const half = shape.length === 0 ? undefined : divideExactly(shape.at(-1) as Dim, 2);
  if (half === undefined)
    throw new ShapeError(`the last axis of ${formatShape(shape)} must be even: its elements are rotated in pairs`);
  return shape.with(-1, half);
}

/** First and second elements of all pairs. */
function pairsOf(x: Tensor, { interleaved }: RopeAttributes): readonly [Tensor, Tensor] {
  if (interleaved) return [slice(x, -1, 0, undefined, 2), slice(x, -1, 1, undefined, 2)];
  return split(x, 2, -1) as readonly Tensor[] as readonly [Tensor, Tensor];
}
