/** What OpenVINO's CPU plugin prefers, and what its ONNX frontend cannot read. */

import { isStaticShape } from "../../graph/dim.js";
import type { OnnxValue } from "../../graph/onnx-face.js";
import type { OnnxContext, OnnxFace } from "../../graph/op.js";
import { operator } from "../../graph/op.js";
import { operandsOf, resultsOf, type ScanAttributes } from "../../graph/scan-body.js";
import type { Attributes, Tensor } from "../../graph/tensor.js";
import type { Lowering } from "../engine.js";

const standard =
  (name: string): OnnxFace<Attributes> =>
  (node, inputs, context) =>
    operator(name).onnx(node, inputs, context);

/**
 * The standard form, a reshape whose sizes are late, leaves everything behind it without sizes that are known when the model
 * is compiled: a second reshape says them again. (Of the training step of 29 M parameters 320 operators were left so.) A
 * scalar goes through a vector of one element, for an empty vector of sizes is read as a scalar.
 */
const waitFor: OnnxFace<Attributes> = (node, inputs, context) => {
  const [x, zero] = inputs as readonly [OnnxValue, OnnxValue];
  const shape = context.inputs[0]?.shape ?? [];
  const late = node("Reshape", [x, node("Add", [shape.length === 0 ? node.int64s([1]) : node.dims(shape), zero])], {
    allowzero: 1,
  });
  if (shape.length === 0) return node("Squeeze", [late, node.int64s([0])]);
  return isStaticShape(shape) ? node("Reshape", [late, node.dims(shape)], { allowzero: 1 }) : late;
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

export const openVinoLowering: Lowering = { faces: { waitFor, scan }, passes: [] };
