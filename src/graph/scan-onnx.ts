/** The loop as ONNX: `Scan`, and `If` around it where there may be no steps at all. */

import { type Dim, isStatic } from "./dim.js";
import { copyNodes, nodesOf } from "./graph.js";
import type { OnnxBuilder, OnnxValue } from "./onnx-face.js";
import { applyOp, type OnnxContext, operator } from "./op.js";
import { zerosLike } from "./ops/fill.js";
import { neededParts, operandsOf, resultsOf, type ScanAttributes } from "./scan-body.js";
import type { Tensor } from "./tensor.js";

export function writeScan(
  node: OnnxBuilder,
  inputs: readonly OnnxValue[],
  context: OnnxContext<ScanAttributes>,
): readonly OnnxValue[] {
  const { body, nonEmpty } = context.attributes;
  const steps = (operandsOf(body, context.inputs).sequences[0] as Tensor).size(0);
  return nonEmpty || (isStatic(steps) && steps > 0) ? writeSteps(node, inputs, context) : writeGuarded(node, steps, context);
}

/** A loop of at least one step. */
function writeSteps(
  node: OnnxBuilder,
  inputs: readonly OnnxValue[],
  { inputs: tensors, attributes: { body, reverse }, used }: OnnxContext<ScanAttributes>,
): readonly OnnxValue[] {
  const { carry, sequences, captured } = operandsOf(
    body,
    inputs.map((value, i) => ({ value, tensor: tensors[i] as Tensor })),
  );
  const wanted = resultsOf(body, [...Array(2 * body.carry.length + body.outputs.length).keys()].map(used));
  const indices = (flags: readonly boolean[]) => [...flags.keys()].filter((i) => flags[i]);
  const outputs = indices(wanted.stacked);
  const history = indices(wanted.history);
  const needed = neededParts(body, [...indices(wanted.final), ...history], outputs);
  const carried = [...needed.carry].sort((a, b) => a - b);
  // Something must tell how many steps there are.
  const scanned = needed.elements.size ? [...needed.elements].sort((a, b) => a - b) : [0];

  // Outer values may be used by name inside, so the captured ones need not pass through the operands.
  const replacement = new Map(captured.map(({ tensor }, i) => [body.captured[i] as Tensor, tensor]));
  copyNodes(nodesOf([...body.nextCarry, ...body.outputs]), replacement);
  const pick = (from: readonly Tensor[], at: readonly number[]) =>
    at.map((i) => replacement.get(from[i] as Tensor) ?? (from[i] as Tensor));
  const stackedCount = outputs.length + history.length;
  const results = node.many(
    "Scan",
    [...carried.map((i) => carry[i]?.value), ...scanned.map((i) => sequences[i]?.value)],
    carried.length + stackedCount,
    {
      num_scan_inputs: scanned.length,
      scan_input_directions: scanned.map(() => Number(reverse)),
      scan_output_directions: Array.from({ length: stackedCount }, () => Number(reverse)),
      body: {
        body: {
          inputs: [...pick(body.carry, carried), ...pick(body.elements, scanned)],
          outputs: [...pick(body.nextCarry, carried), ...pick(body.outputs, outputs), ...pick(body.carry, history)],
        },
      },
    },
  );
  const stackedAt = body.carry.length;
  const historyAt = stackedAt + body.outputs.length;
  return spread(historyAt + body.carry.length, results, [
    ...carried,
    ...outputs.map((i) => stackedAt + i),
    ...history.map((i) => historyAt + i),
  ]);
}

/** Engines refuse loops over nothing (ONNX Runtime 1.30), so whether there are steps is asked first. */
function writeGuarded(
  node: OnnxBuilder,
  steps: Dim,
  { inputs, outputs, attributes, used }: OnnxContext<ScanAttributes>,
): readonly OnnxValue[] {
  const wanted = [...outputs.keys()].filter(used);
  const nothing = outputs.map((tensor, i) => inputs[i < attributes.body.carry.length ? i : -1] ?? zerosLike(tensor));
  const something = applyOp(operator("scan"), inputs, { ...attributes, nonEmpty: true });
  const branch = (tensors: readonly Tensor[]) => ({ body: { inputs: [], outputs: wanted.map((i) => tensors[i] as Tensor) } });
  const isEmpty = node("Equal", [node.dims([steps]), node.int64s([0])]);
  const results = node.many("If", [isEmpty], wanted.length, { then_branch: branch(nothing), else_branch: branch(something) });
  return spread(outputs.length, results, wanted);
}

/** Values at their places among all outputs of a node; nothing reads the ones between. */
function spread(count: number, values: readonly OnnxValue[], places: readonly number[]): readonly OnnxValue[] {
  const all = new Array<OnnxValue>(count).fill("" as OnnxValue);
  for (const [i, place] of places.entries()) all[place] = values[i] as OnnxValue;
  return all;
}
