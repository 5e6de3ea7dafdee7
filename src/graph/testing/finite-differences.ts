/** Gradients checked against central differences in float64. */

import { evaluate } from "../../engine/reference/interpret.js";
import { encode, isFloat } from "../dtype.js";
import type { Graph } from "../graph.js";
import { elementCount, type HostArray, toNumbers } from "../host-array.js";
import { namedRandom } from "../random.js";
import type { Tensor } from "../tensor.js";
import { differentiate } from "./op-graph.js";

export interface DifferenceOptions {
  /** Outputs that are differentiated. Default: all float ones. */
  readonly of?: readonly string[];
  /** How many elements of each input are moved; chosen at random when there are more. Default 24. */
  readonly samples?: number;
  /** Half the distance between the two points of a difference. Default 1e-5. */
  readonly step?: number;
  /** Relative to the larger of 1 and the gradient. Default 1e-6. */
  readonly tolerance?: number;
}

/**
 * Compares the gradients of a graph with finite differences: along a random projection of the outputs, one element of an
 * input at a time. Returns what disagrees, in words; nothing when all is well.
 *
 * @param inputs data for all inputs of the graph
 * @param wrt names of the inputs to differentiate by
 */
export function gradientProblems(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  wrt: readonly string[],
  { of, samples = 24, step = 1e-5, tolerance = 1e-6 }: DifferenceOptions = {},
): readonly string[] {
  const exactInputs = new Map([...inputs].map(([name, array]) => [name, toExact(array)]));
  const outputs = (of ?? [...graph.outputs.keys()]).filter((name) => isFloat((graph.outputs.get(name) as Tensor).dtype));
  const values = evaluate(graph, exactInputs, { exact: true, outputs });
  const { graph: withGradients, seeds, gradients } = differentiate(graph, wrt, outputs);
  const weights = new Map([...values].map(([name, { shape }]): [string, HostArray] => [name, randomArray(shape, name)]));
  const seeded = new Map(exactInputs);
  for (const [i, name] of seeds.entries()) seeded.set(name, weights.get(outputs[i] as string) as HostArray);
  const analytic = evaluate(withGradients, seeded, { exact: true, outputs: gradients });

  const projection = (moved: ReadonlyMap<string, HostArray>): number => {
    let total = 0;
    for (const [name, array] of evaluate(graph, moved, { exact: true, outputs })) {
      const weight = toNumbers(weights.get(name) as HostArray);
      total = toNumbers(array).reduce((sum, value, i) => sum + value * (weight[i] as number), total);
    }
    return total;
  };

  const problems: string[] = [];
  for (const [i, name] of wrt.entries()) {
    const origin = exactInputs.get(name) as HostArray<"float64">;
    const gradient = toNumbers(analytic.get(gradients[i] as string) as HostArray);
    for (const element of chooseElements(elementCount(origin.shape), samples, name)) {
      const at = (distance: number): number => {
        const data = origin.data.slice();
        data[element] = (data[element] as number) + distance;
        return projection(new Map(exactInputs).set(name, { ...origin, data }));
      };
      const expected = (at(step) - at(-step)) / (2 * step);
      const actual = gradient[element] as number;
      if (!(Math.abs(actual - expected) <= tolerance * Math.max(1, Math.abs(expected))))
        problems.push(`the gradient by ${name}[${element}] is ${actual}, but differences say ${expected}`);
    }
  }
  return problems;
}

const toExact = (array: HostArray): HostArray =>
  isFloat(array.dtype) ? { dtype: "float64", shape: array.shape, data: encode("float64", toNumbers(array)) } : array;

function randomArray(shape: readonly number[], key: string): HostArray {
  const random = namedRandom(20_23, key);
  return { dtype: "float64", shape, data: Float64Array.from({ length: elementCount(shape) }, () => 2 * random.uniform() - 1) };
}

function chooseElements(count: number, samples: number, key: string): readonly number[] {
  if (count <= samples) return Array.from({ length: count }, (_, i) => i);
  const random = namedRandom(20_24, key);
  return Array.from({ length: samples }, () => random.below(count));
}
