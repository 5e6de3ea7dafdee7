/** The laws that every operator keeps, checked on one of its cases. Each check returns what is wrong, in words. */

import { evaluate } from "../../engine/reference/interpret.js";
import { DTypeError } from "../../errors.js";
import { formatShape, isStaticShape, sameShape } from "../dim.js";
import { type FloatDType, isFloat } from "../dtype.js";
import { fromNumbers, type HostArray, toNumbers } from "../host-array.js";
import type { Tensor } from "../tensor.js";
import type { OpCase } from "./cases.js";
import { difference } from "./compare.js";
import { type DifferenceOptions, gradientProblems } from "./finite-differences.js";
import { differentiableInputs, differentiate, drawInputs, forwardGraph, gradientGraph, sizeInputs } from "./op-graph.js";

/** What the definition computes has the shape and the dtype that it declares, and no NaN. */
export function shapeProblems(testCase: OpCase): readonly string[] {
  const graph = forwardGraph(testCase);
  const problems: string[] = [];
  // Evaluating compares every value with its declared shape.
  for (const [name, { dtype, shape, data }] of evaluate(graph, drawInputs(testCase, graph))) {
    const declared = graph.outputs.get(name) as Tensor;
    if (dtype !== declared.dtype) problems.push(`${name} is ${dtype}, but ${declared.dtype} is declared`);
    if (isStaticShape(declared.shape) && !sameShape(shape, declared.shape))
      problems.push(`${name} has the shape ${formatShape(shape)}, but ${formatShape(declared.shape)} is declared`);
    if (isFloat(dtype) && toNumbers({ dtype, shape, data } as HostArray).some(Number.isNaN)) problems.push(`${name} has a NaN`);
  }
  return problems;
}

/** The vjp agrees with finite differences of the definition. */
export function vjpProblems(testCase: OpCase, options: DifferenceOptions = {}): readonly string[] {
  const wrt = differentiableInputs(testCase);
  if (wrt.length === 0) return [];
  const graph = forwardGraph(testCase);
  return gradientProblems(graph, drawInputs(testCase, graph), wrt, options);
}

/** The vjp can be differentiated, and what comes out agrees with finite differences of the vjp. */
export function secondOrderProblems(testCase: OpCase, options: DifferenceOptions = {}): readonly string[] {
  const wrt = differentiableInputs(testCase);
  if (wrt.length === 0) return [];
  const { graph, gradients, seeds } = differentiate(forwardGraph(testCase), wrt);
  if (seeds.length === 0) return [];
  return gradientProblems(graph, drawInputs(testCase, graph), [...wrt, ...seeds], { samples: 8, of: gradients, ...options });
}

/** One graph with symbolic sizes computes for every binding what a graph with those sizes does, gradients included. */
export function symbolicProblems(cases: readonly OpCase[]): readonly string[] {
  const [first] = cases;
  if (!first) return [];
  const symbolic = gradientGraph(first, { symbolic: true });
  return cases.flatMap((testCase) => {
    const concrete = gradientGraph(testCase);
    const inputs = drawInputs(testCase, concrete);
    const expected = evaluate(concrete, inputs);
    const actual = evaluate(symbolic, new Map([...inputs, ...sizeInputs(testCase, symbolic)]));
    return [...expected].flatMap(([name, array]) => {
      const other = actual.get(name);
      // The same float64 operations in the same order: nothing may differ.
      const found = other ? difference(other, array, 0) : "it is missing";
      return found ? [`${testCase.label} ${name} with symbolic sizes: ${found}`] : [];
    });
  });
}

/** By how much values of a dtype may be off, relative to the largest: some roundings. */
const roundings: Readonly<Record<FloatDType, number>> = { float64: 1e-12, float32: 1e-5, float16: 2e-2, bfloat16: 1e-1 };

/**
 * Results and gradients have the values of an exact run, up to rounding, whichever float the operands are; gradients have the
 * dtype of their operand, and operators build them without mixing dtypes. An example that does not take the dtype (a loop's body
 * has dtypes of its own) has nothing to check.
 */
export function floatDTypeProblems(testCase: OpCase, float: FloatDType): readonly string[] {
  if (!takes(testCase, float)) return [];
  const wrt = differentiableInputs(testCase);
  const graph = gradientGraph(testCase, { float });
  const inputs = drawInputs(testCase, gradientGraph(testCase));
  const converted = new Map(
    [...graph.inputs].map(([name, { dtype }]): [string, HostArray] => {
      const array = inputs.get(name);
      if (!array) throw new Error(`${testCase.label}: no data for ${name}`);
      return [name, fromNumbers(dtype, array.shape, toNumbers(array))];
    }),
  );
  const values = evaluate(graph, converted);
  const exact = evaluate(
    gradientGraph(testCase, { float: "float64" }),
    new Map([...converted].map(([name, array]) => [name, isFloat(array.dtype) ? asFloat64(array) : array])),
    { exact: true },
  );
  return [...values].flatMap(([name, value]) => {
    const expected = exact.get(name) as HostArray;
    const wrongDType = wrt
      .filter((operand) => name === `grad:${operand}`)
      .map((operand) => graph.inputs.get(operand)?.dtype)
      .filter((dtype) => dtype !== value.dtype)
      .map((dtype) => `${name} is ${value.dtype}, but the operand is ${dtype}`);
    const comparable = isFloat(value.dtype) ? asFloat64(value) : value;
    const found = value.dtype === float ? difference(comparable, expected, roundings[float]) : undefined;
    return found ? [...wrongDType, `${name} in ${float}: ${found}`] : wrongDType;
  });
}

const asFloat64 = (array: HostArray): HostArray => fromNumbers("float64", array.shape, toNumbers(array));

function takes(testCase: OpCase, float: FloatDType): boolean {
  try {
    forwardGraph(testCase, { float });
    return true;
  } catch (error) {
    if (error instanceof DTypeError) return false;
    throw error;
  }
}
