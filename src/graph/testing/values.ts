/** Values of tensors, for tests: leaves are given by name, or fill themselves. */

import { bindInputs } from "../../engine/reference/bind.js";
import { evaluate } from "../../engine/reference/interpret.js";
import { bindShape } from "../dim.js";
import { isFloat } from "../dtype.js";
import { type Graph, nodesOf } from "../graph.js";
import { elementCount, fromNumbers, type HostArray, toNumbers } from "../host-array.js";
import { constantOp, fromNested, type NoiseAttributes, noiseOp } from "../leaves.js";
import { namedRandom } from "../random.js";
import type { Tensor } from "../tensor.js";
import { Variable } from "../variable.js";

type Nested = number | boolean | readonly Nested[];

/** A graph of the tensors, named by their position; its inputs are named as they were made. */
export function graphOf(tensors: readonly Tensor[]): Graph {
  const leaves = nodesOf(tensors).filter(({ op }) => op.leaf && op !== constantOp);
  return {
    inputs: new Map(
      leaves.map(({ id, outputs: [leaf], attributes }) => [String(attributes.name ?? `leaf ${id}`), leaf as Tensor]),
    ),
    outputs: new Map(tensors.map((tensor, i) => [String(i), tensor])),
  };
}

/** Values for the inputs of a graph in an exact run: feeds as given, variables from host memory, noise drawn by its name. */
export function inputsOf(graph: Graph, feeds: Readonly<Record<string, Nested>>): Map<string, HostArray> {
  const values = new Map<string, HostArray>();
  for (const [name, tensor] of graph.inputs)
    if (tensor instanceof Variable) values.set(name, tensor.hostValue());
    else if (tensor.node.op !== noiseOp && feeds[name] !== undefined)
      values.set(name, fromNested(feeds[name] as Nested, isFloat(tensor.dtype) ? "float64" : tensor.dtype));
  const sizes = bindInputs(
    new Map([...values].map(([name, { shape }]) => [name, { declared: (graph.inputs.get(name) as Tensor).shape, given: shape }])),
  );
  for (const [name, tensor] of graph.inputs)
    if (tensor.node.op === noiseOp) values.set(name, drawNoise(tensor, bindShape(tensor.shape, sizes)));
  return values;
}

function drawNoise({ node, dtype }: Tensor, shape: readonly number[]): HostArray {
  const { name, distribution } = node.attributes as unknown as NoiseAttributes;
  const random = namedRandom(1, name);
  const draw =
    distribution.kind === "bernoulli"
      ? () => Number(random.uniform() < distribution.probability)
      : distribution.kind === "normal"
        ? random.normal
        : random.uniform;
  return fromNumbers(dtype, shape, Array.from({ length: elementCount(shape) }, draw));
}

/** Values in exact float64, as plain numbers in row-major order. */
export function numbersOf(tensors: readonly Tensor[], feeds: Readonly<Record<string, Nested>> = {}): readonly number[][] {
  const graph = graphOf(tensors);
  const values = evaluate(graph, inputsOf(graph, feeds), { exact: true });
  return tensors.map((_, i) => Array.from(toNumbers(values.get(String(i)) as HostArray)));
}
