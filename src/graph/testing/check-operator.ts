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

/**
 * Gradients have the dtype of their operand, whichever float that is, and operators build them without mixing dtypes.
 * An example that does not take the dtype (a loop's body has dtypes of its own) has nothing to check.
 */
export function gradientDTypeProblems(testCase: OpCase, float: FloatDType): readonly string[] {
  const wrt = differentiableInputs(testCase);
  if (wrt.length === 0 || !takes(testCase, float)) return [];
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
  return wrt.flatMap((name) => {
    const { dtype } = values.get(`grad:${name}`) ?? {};
    const expected = graph.inputs.get(name)?.dtype;
    return dtype === expected ? [] : [`the gradient by ${name} is ${dtype}, but the operand is ${expected}`];
  });
}

function takes(testCase: OpCase, float: FloatDType): boolean {
  try {
    forwardGraph(testCase, { float });
    return true;
  } catch (error) {
    if (error instanceof DTypeError) return false;
    throw error;
  }
}
