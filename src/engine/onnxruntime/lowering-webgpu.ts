/**
 * Where ONNX Runtime's WebGPU provider is wrong, promises too little or falls back to the CPU, operators are told to it in
 * another way. Found by comparing every operator with the reference (`operators-webgpu.test.ts`) and by asking where each
 * ran (`operatorsOnCpu`); `docs/engines.md` has the list.
 *
 * Not used here although the CPU provider likes it: `SimplifiedLayerNormalization`, whose second output stays empty.
 */

import { addDims, type Dim, isComputed, sameShape } from "../../graph/dim.js";
import { onnxDType } from "../../graph/dtype.js";
import type { OnnxBuilder, OnnxValue } from "../../graph/onnx-face.js";
import { type OnnxFace, operator } from "../../graph/op.js";
import type { Attributes, Tensor } from "../../graph/tensor.js";
import type { Lowering } from "../engine.js";

type Face = OnnxFace<Attributes>;

const standard =
  (name: string): Face =>
  (node, inputs, context) =>
    operator(name).onnx(node, inputs, context);

/** Pow fails where it broadcasts along the last axis and works on four elements at once ([3, 4] and [3, 1]): no broadcasting then. */
const pow: Face = (node, inputs, context) => {
  const { shape } = context.outputs[0] as Tensor;
  const whole = inputs.map((value, i) => {
    const operand = context.inputs[i] as Tensor;
    return operand.rank === 0 || sameShape(operand.shape, shape) ? value : node("Expand", [value, node.dims(shape)]);
  });
  return standard("pow")(node, whole, context);
};

/**
 * A product of empty matrices, or with an inner size of 0, ends the process: sizes known to be 0 never get there, and matrices
 * whose size the data decides (the rows of an expert that no token chose) get one more row or column of zeros.
 */
const matmul: Face = (node, inputs, context) => {
  const { dtype, shape } = context.outputs[0] as Tensor;
  if (context.inputs.some((operand) => operand.shape.includes(0)))
    return node("Expand", [node.scalar(dtype, 0), node.dims(shape)]);
  const padded = inputs.map((value, i) => {
    const operand = context.inputs[i] as Tensor;
    const more = operand.shape.map((size, axis) => Number(axis >= operand.rank - 2 && isComputed(size)));
    return more.includes(1) ? node("Pad", [value, node.int64s([...more.map(() => 0), ...more])]) : value;
  });
  const product = standard("matmul")(node, padded, context) as OnnxValue;
  const axes = [shape.length - 2, shape.length - 1].filter((axis) => isComputed(shape[axis] as Dim));
  if (axes.length === 0) return product;
  const [starts, ends] = [axes.map(() => 0), axes.map(() => -1)];
  return node("Slice", [product, node.int64s(starts), node.int64s(ends), node.int64s(axes)]);
};

/** Storage buffers that a shader may have on every device: the smallest limit that WebGPU allows. */
const STORAGE_BUFFERS = 8;

/** A split has a buffer for its operand and one for each part: more parts than fit are split off in several rounds. */
const split: Face = (node, inputs, context) => {
  const { sizes, axis } = context.attributes as { readonly sizes: readonly Dim[]; readonly axis: number };
  const most = STORAGE_BUFFERS - 1;
  const parts = (x: OnnxValue, of: readonly Dim[]): readonly OnnxValue[] => {
    if (of.length <= most) return node.many("Split", [x, node.dims(of)], of.length, { axis });
    const perGroup = Math.ceil(of.length / most);
    const groups = Array.from({ length: Math.ceil(of.length / perGroup) }, (_, i) => of.slice(i * perGroup, (i + 1) * perGroup));
    const whole = groups.map((group) => addDims(...group));
    return parts(x, whole).flatMap((part, i) => {
      const group = groups[i] as readonly Dim[];
      return group.length === 1 ? [part] : parts(part, group);
    });
  };
  return parts(inputs[0] as OnnxValue, sizes);
};

/** A softmax of nothing ends the process too. */
const softmax: Face = (node, inputs, context) =>
  context.inputs[0]?.shape.includes(0) ? node("Identity", inputs) : standard("softmax")(node, inputs, context);

/** π in three parts: the first two have few bits, so that their products with whole numbers to 2¹⁵ are exact (Cody & Waite 1980). */
const PI_PARTS = [3.140625, 9.675025939941406e-4, 1.5099579909783765e-7] as const;

/** −1/3!, 1/5!, ... of the Taylor series of the sine: up to r¹¹ it is exact to 6·10⁻⁸ for |r| ≤ π/2. */
const SINE_COEFFICIENTS = [-1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800] as const;

/**
 * The sine and cosine of WGSL may be off by 2⁻¹¹ between −π and π and by anything beyond (WGSL, section "Accuracy of concrete
 * floating-point expressions"); rotary positions need thousands of radians. So: x = (k + shift)·π + r with |r| ≤ π/2, and a
 * polynomial in r. Up to |x| = 10⁴ the result is as exact as x is.
 *
 * @param shift 0 for ±sin r, ½ for ±cos x = ∓sin r
 */
function sineOfRest(node: OnnxBuilder, x: OnnxValue, shift: 0 | 0.5): OnnxValue {
  const number = (value: number) => node.scalar("float32", value);
  // The nearest whole number; WebGPU has no Round.
  const turns = node("Floor", [node("Add", [node("Mul", [x, number(1 / Math.PI)]), number(0.5 - shift)])]);
  const center = shift === 0 ? turns : node("Add", [turns, number(shift)]);
  const r = PI_PARTS.reduce((rest, part) => node("Sub", [rest, node("Mul", [center, number(part)])]), x);
  const square = node("Mul", [r, r]);
  const [last, ...others] = SINE_COEFFICIENTS.toReversed();
  const series = others.reduce(
    (sum, coefficient) => node("Add", [node("Mul", [sum, square]), number(coefficient)]),
    number(last as number),
  );
  const sine = node("Add", [r, node("Mul", [node("Mul", [r, square]), series])]);
  // (−1)^turns = 1 − 2·(turns mod 2)
  const odd = node("Sub", [turns, node("Mul", [node("Floor", [node("Mul", [turns, number(0.5)])]), number(2)])]);
  const sign = node("Sub", [number(1), node("Mul", [odd, number(2)])]);
  return node("Mul", [shift === 0 ? sign : node("Neg", [sign]), sine]);
}

/** In float32, whatever float x is. */
const trigonometric =
  (name: string, shift: 0 | 0.5): Face =>
  (node, inputs, context) => {
    const { dtype } = context.inputs[0] as Tensor;
    const [x] = inputs as readonly [OnnxValue];
    if (dtype === "float64") return standard(name)(node, inputs, context); // computed on the CPU: GPUs have no float64
    if (dtype === "float32") return sineOfRest(node, x, shift);
    return node("Cast", [sineOfRest(node, node("Cast", [x], { to: onnxDType("float32") }), shift)], { to: onnxDType(dtype) });
  };

/** WebGPU has no Sign: (x > 0) − (x < 0). */
const sign: Face = (node, inputs, context) => {
  const { dtype } = context.inputs[0] as Tensor;
  const [x] = inputs as readonly [OnnxValue];
  const is = (comparison: string) => node("Cast", [node(comparison, [x, node.scalar(dtype, 0)])], { to: onnxDType(dtype) });
  return node("Sub", [is("Greater"), is("Less")]);
};

/** x without its largest element along an axis, and log Σ exp of that: their difference is log softmax(x). */
function logSoftmaxParts(node: OnnxBuilder, x: OnnxValue, axis: number): readonly [shifted: OnnxValue, logTotal: OnnxValue] {
  const along = node.int64s([axis]);
  const shifted = node("Sub", [x, node("ReduceMax", [x, along], { keepdims: 1 })]);
  return [shifted, node("Log", [node("ReduceSum", [node("Exp", [shifted]), along], { keepdims: 1 })])];
}

/** WebGPU has no LogSoftmax: the logits would travel to the CPU and back. */
const logSoftmax: Face = (node, inputs, context) => {
  if (context.inputs[0]?.shape.includes(0)) return node("Identity", inputs);
  const { axis } = context.attributes as { readonly axis: number };
  return node("Sub", logSoftmaxParts(node, inputs[0] as OnnxValue, axis));
};

const labelLogProbability: Face = (node, inputs, context) => {
  if (context.inputs[0]?.shape.includes(0)) return standard("labelLogProbability")(node, inputs, context);
  const [logits, labels] = inputs as readonly [OnnxValue, OnnxValue];
  const last = (context.inputs[0] as Tensor).rank - 1;
  const [shifted, logTotal] = logSoftmaxParts(node, logits, last);
  const chosen = node("GatherElements", [shifted, node("Unsqueeze", [labels, node.int64s([last])])], { axis: last });
  return node("Squeeze", [node("Sub", [chosen, logTotal]), node.int64s([last])]);
};

export const webgpuLowering: Lowering = {
  faces: {
    pow,
    matmul,
    split,
    softmax,
    logSoftmax,
    labelLogProbability,
    sign,
    sin: trigonometric("sin", 0),
    cos: trigonometric("cos", 0.5),
  },
  passes: [],
};
