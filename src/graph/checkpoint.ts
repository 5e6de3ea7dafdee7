/**
 * Recomputation: what a function computes on the way is not kept for the backward pass, but computed again there
 * (Chen et al. 2016, "Training deep nets with sublinear memory cost").
 */

import { barrier } from "./barrier.js";
import { passThrough } from "./custom-gradient.js";
import { isFloat } from "./dtype.js";
import { isZeros, partialVectorJacobian } from "./gradient.js";
import { copyNodes, nodesOf } from "./graph.js";
import { constantOp } from "./leaves.js";
import { dependenciesOf, type Node, nodeIdMark, Tensor } from "./tensor.js";
import { variableOp } from "./variable.js";

/**
 * Runs `fn`, and arranges that its gradients recompute what it computes instead of keeping it:
 * `const y = checkpoint(() => layer.forward(x))`. Values and gradients are the same as without, noise included.
 *
 * Only the results carry recomputed gradients: the gradient by a value made inside `fn` and used inside it alone is zero.
 */
export function checkpoint<R extends Tensor | readonly Tensor[]>(fn: () => R): R {
  const since = nodeIdMark();
  const result = fn();
  const results: readonly Tensor[] = result instanceof Tensor ? [result] : result;
  const region = recomputable(results, since);
  const wrapped = wrapOutputs(results, region, since);
  return (result instanceof Tensor ? wrapped[0] : wrapped) as R;
}

/** Weights and what depends on them alone are there anyway; recomputing them would save nothing worth having. */
const staysInMemory = ({ op }: Node): boolean => op === variableOp || op === constantOp;

/** Nodes made since the mark, in topological order, that depend on an activation: a value from outside, a feed, noise. */
function recomputable(results: readonly Tensor[], since: number): readonly Node[] {
  const region = new Set<Node>();
  for (const node of nodesOf(results, ({ id }) => id < since)) {
    if (node.id < since || node.op.leaf) continue;
    if (dependenciesOf(node).some((tensor) => region.has(tensor.node) || isActivation(tensor, since))) region.add(node);
  }
  return [...region];
}

const isActivation = ({ node }: Tensor, since: number): boolean => (node.id < since || node.op.leaf) && !staysInMemory(node);

function wrapOutputs(results: readonly Tensor[], region: readonly Node[], since: number): readonly Tensor[] {
  const inside = new Set(region);
  const outputs = [...new Set(results)].filter((tensor) => inside.has(tensor.node));
  if (outputs.length === 0) return results;
  const external = [...new Set(region.flatMap(dependenciesOf))].filter(
    (tensor) => !inside.has(tensor.node) && tensor.node.op !== constantOp,
  );
  const passed = passThrough(...outputs, ...external, {
    count: outputs.length,
    vjp: ({ inputs, gradients }) => {
      const values = inputs.slice(outputs.length);
      // Any gradient will do: none exists before the forward pass is over.
      const after = gradients.find((gradient) => !isZeros(gradient)) ?? (gradients[0] as Tensor);
      const late = values.map((value, i) => (isActivation(external[i] as Tensor, since) ? barrier(value, after) : value));
      return [...outputs.map(() => undefined), ...replay(region, outputs, external, late, gradients)];
    },
  });
  return results.map((tensor) => passed[outputs.indexOf(tensor)] ?? tensor);
}

/** Copies the region on top of other values in place of `external` and differentiates the copy by them. */
function replay(
  region: readonly Node[],
  outputs: readonly Tensor[],
  external: readonly Tensor[],
  values: readonly Tensor[],
  gradients: readonly Tensor[],
): readonly (Tensor | undefined)[] {
  const since = nodeIdMark();
  const replacement = new Map(external.map((tensor, i) => [tensor, values[i] as Tensor]));
  copyNodes(region, replacement);
  const copies = outputs.map((tensor) => replacement.get(tensor) as Tensor);
  const differentiable = [...new Set(values)].filter(({ dtype }) => isFloat(dtype));
  const found = partialVectorJacobian(copies, gradients, differentiable, { since });
  const gradientOf = new Map(differentiable.map((value, i) => [value, found[i]]));
  return values.map((value, i) => (values.indexOf(value) === i ? gradientOf.get(value) : undefined));
}
