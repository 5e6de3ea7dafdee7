/** What OpenVINO's CPU plugin prefers, and what its ONNX frontend cannot read. */

import { onnxDType } from "../../graph/dtype.js";
import type { OnnxValue } from "../../graph/onnx-face.js";
import type { OnnxContext, OnnxFace } from "../../graph/op.js";
import { operator } from "../../graph/op.js";
import { operandsOf, resultsOf, type ScanAttributes } from "../../graph/scan-body.js";
import type { Attributes, Tensor } from "../../graph/tensor.js";
import type { Lowering } from "../engine.js";
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
 * was then computed a second time from a square that was kept until then.
 */
const rmsNorm: OnnxFace<Attributes> = (node, inputs, context) => {
  if (!context.used(1)) return standard("rmsNorm")(node, inputs, context);
  const [x, weight] = inputs as readonly [OnnxValue, OnnxValue | undefined];
  const { dtype, rank } = context.inputs[0] as Tensor;
  const { epsilon } = context.attributes as { readonly epsilon: number };
  const meanSquare = node("ReduceMean", [node("Mul", [x, x]), node.int64s([rank - 1])], { keepdims: 1 });
  const factor = node("Reciprocal", [node("Sqrt", [node("Add", [meanSquare, node.scalar(dtype, epsilon)])])]);
  // The factor times the weight first: the gradient's x · factor is not to be taken from here.
  return [node("Mul", [x, weight ? node("Mul", [factor, weight]) : factor]), factor];
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
  faces: { waitFor, rmsNorm, scan },
  passes: [lateNormalization, scalarsFirst],
};
