/** What OpenVINO's CPU plugin prefers, and what its ONNX frontend cannot read. */

import { type Dim, isStaticShape, sameShape } from "../../graph/dim.js";
import { onnxDType } from "../../graph/dtype.js";
import { elementCount } from "../../graph/host-array.js";
import type { OnnxValue } from "../../graph/onnx-face.js";
import type { OnnxContext, OnnxFace } from "../../graph/op.js";
import { operator } from "../../graph/op.js";
import { operandsOf, resultsOf, type ScanAttributes } from "../../graph/scan-body.js";
import type { Attributes, Tensor } from "../../graph/tensor.js";
import type { Lowering } from "../engine.js";
import { flatProducts } from "./flat-products.js";
import { lateNormalization, scalarsFirst } from "./order.js";

const standard =
  (name: string): OnnxFace<Attributes> =>
  (node, inputs, context) =>
    operator(name).onnx(node, inputs, context);

/**
 * A sum with the late zero. The standard form, a reshape whose sizes are late, leaves everything behind it without sizes that
 * are known when the model is compiled, and shares memory that the plan gives away: the gradients of a training step came out
 * wrong, by their own size, with a second reshape behind it too.
 */
const waitFor: OnnxFace<Attributes> = (node, inputs, context) => {
  const [x, zero] = inputs as readonly [OnnxValue, OnnxValue];
  const { dtype } = context.inputs[0] as Tensor;
  const late = node("Cast", [zero], { to: onnxDType(dtype) });
  return dtype === "bool" ? node("Or", [x, late]) : node("Add", [x, late]);
};

/**
 * Where the factor is asked for, the result is computed from it: OpenVINO's own RMS operator would not give the factor, which
 * was then computed a second time from a square that was kept until then. The length of a row is one pass over it, where a mean
 * of squares is two and writes the squares between them: 0.12 ms instead of 0.49 for 4,096 rows of 512.
 */
const rmsNorm: OnnxFace<Attributes> = (node, inputs, context) => {
  if (!context.used(1)) return standard("rmsNorm")(node, inputs, context);
  const [x, weight] = inputs as readonly [OnnxValue, OnnxValue | undefined];
  const { dtype, shape, rank } = context.inputs[0] as Tensor;
  const { epsilon } = context.attributes as { readonly epsilon: number };
  const size = shape.at(-1);
  if (dtype !== "float32" || typeof size !== "number" || size === 0) return standard("rmsNorm")(node, inputs, context);
  const length = node("ReduceL2", [x, node.int64s([rank - 1])], { keepdims: 1 });
  const meanSquare = node("Mul", [node("Mul", [length, length]), node.scalar(dtype, 1 / size)]);
  const factor = node("Reciprocal", [node("Sqrt", [node("Add", [meanSquare, node.scalar(dtype, epsilon)])])]);
  // The factor times the weight first: the gradient's x · factor is not to be taken from here.
  return [node("Mul", [x, weight ? node("Mul", [factor, weight]) : factor]), factor];
};

/**
 * The form, with halves that change places, that OpenVINO computes in one pass with its own operator RoPE, where angles are
 * constants too. The standard form is four multiplications and two copies, each over memory: a training step of 29 M parameters
 * takes 1 % less time, one of 800,000 parameters 5 %.
 */
const rope: OnnxFace<Attributes> = (node, inputs, context) => {
  const [x, cos, sin] = context.inputs as readonly [Tensor, Tensor, Tensor];
  const { interleaved } = context.attributes as { readonly interleaved: boolean };
  const width = x.shape.at(-1);
  const fits =
    !interleaved &&
    x.rank === 4 &&
    typeof width === "number" &&
    [cos, sin].every(({ shape }) => sameShape(shape, [x.shape[2] as Dim, width / 2]));
  if (!fits) return standard("rope")(node, inputs, context);
  const [values, cosines, sines] = inputs as readonly [OnnxValue, OnnxValue, OnnxValue];
  const overHeads = (table: OnnxValue) => node("Unsqueeze", [node("Concat", [table, table], { axis: -1 }), node.int64s([0, 1])]);
  const part = (start: number, end: number) =>
    node("Slice", [values, node.int64s([start]), node.int64s([end]), node.int64s([-1]), node.int64s([1])]);
  const turned = node("Concat", [node("Neg", [part(width / 2, width)]), part(0, width / 2)], { axis: -1 });
  return node("Add", [node("Mul", [values, overHeads(cosines)]), node("Mul", [turned, overHeads(sines)])]);
};

/** Elements from which it pays to add with all threads: 0.6 ms of 22 for a step of 800,000 parameters that are one vector. */
const MANY = 2 ** 16;
const MOST_ROWS = 64;

/**
 * Many elements in rows of equal length, whose lengths are found side by side: a sum to one number is made by one thread, and
 * a sum of squares writes the squares first (0.13 ms instead of 0.05 for 800,000).
 */
const sumOfSquares: OnnxFace<Attributes> = (node, inputs, context) => {
  const [{ shape }] = context.inputs as readonly [Tensor];
  const { axes, keepDims } = context.attributes as { readonly axes: readonly number[]; readonly keepDims: boolean };
  const elements = isStaticShape(shape) && axes.length === shape.length && !keepDims ? elementCount(shape) : 0;
  const rows = elements >= MANY ? largestDivisor(elements, MOST_ROWS) : 1;
  if (rows === 1) return standard("sumOfSquares")(node, inputs, context);
  const lengths = node("ReduceL2", [node("Reshape", [inputs[0] as OnnxValue, node.int64s([rows, -1])]), node.int64s([1])], {
    keepdims: 0,
  });
  return node("ReduceSumSquare", [lengths, node.int64s([0])], { keepdims: 0 });
};

function largestDivisor(of: number, atMost: number): number {
  let divisor = atMost;
  while (of % divisor !== 0) divisor--;
  return divisor;
}

/**
 * Rows are added whole: an index for each element, as in the standard form, is written and read by one thread. 0.6 ms instead of 9.5
 * for 4,096 rows of 512 in a table of 6,400. Unlike in ONNX Runtime no update is lost.
 */
const scatterAdd: OnnxFace<Attributes> = (node, inputs, context) => {
  const [x, indices, updates] = inputs as readonly [OnnxValue, OnnxValue, OnnxValue];
  if ((context.inputs[2] as Tensor).shape.includes(0)) return x;
  const rows = node("Unsqueeze", [node("Cast", [indices], { to: onnxDType("int64") }), node.int64s([-1])]);
  return node("ScatterND", [x, rows, updates], { reduction: "add" });
};

/** Bodies of loops may not read values from outside ("Number of Scan node inputs is less than required"): they are carried. */
const scan: OnnxFace<Attributes> = (node, inputs, context) => {
  const { body, ...rest } = context.attributes as Attributes & ScanAttributes;
  if (body.captured.length === 0) return standard("scan")(node, inputs, context);
  const closed = {
    ...body,
    carry: [...body.carry, ...body.captured],
    nextCarry: [...body.nextCarry, ...body.captured],
    captured: [],
  };
  const carriedOperands = <T>(operands: readonly T[]): readonly T[] => {
    const { carry, sequences, captured } = operandsOf(body, operands);
    return [...carry, ...captured, ...sequences];
  };
  const carriedResults = (outputs: readonly Tensor[]): readonly Tensor[] => {
    const { final, stacked, history } = resultsOf(body, outputs);
    const nothing = operandsOf(body, context.inputs).captured; // nobody asks for them
    return [...final, ...nothing, ...stacked, ...history, ...nothing];
  };
  const places = resultsOf(closed, [...carriedResults(context.outputs).keys()]);
  const count = body.carry.length;
  const wanted = [...places.final.slice(0, count), ...places.stacked, ...places.history.slice(0, count)];
  const inner: OnnxContext<Attributes> = {
    inputs: carriedOperands(context.inputs),
    outputs: carriedResults(context.outputs),
    attributes: { ...rest, body: closed },
    used: (index) => wanted.includes(index) && context.used(wanted.indexOf(index)),
  };
  const written = operator("scan").onnx(node, carriedOperands(inputs), inner);
  return wanted.map((place) => written[place] as OnnxValue);
};

export const openVinoLowering: Lowering = {
  faces: { waitFor, rmsNorm, rope, scatterAdd, sumOfSquares, scan },
  passes: [flatProducts, lateNormalization, scalarsFirst],
};
