/** Reverse-mode differentiation: the gradient of a graph is more graph (Griewank & Walther 2008, chapter 3). */

import { TsumikiError } from "../errors.js";
import { formatShape, sameShape } from "./dim.js";
import { isFloat } from "./dtype.js";
import { nodesOf } from "./graph.js";
import { uniformValue } from "./leaves.js";
import { add } from "./ops/arithmetic.js";
import { onesLike, zerosLike } from "./ops/fill.js";
import type { Node, Tensor } from "./tensor.js";
import { withScope } from "./trace.js";

/**
 * Gradients of a scalar with respect to each tensor in `wrt`, of the tensors' shapes; zeros where the scalar does not
 * depend on one. Gradients are tensors like any other: they can be differentiated again.
 */
export function grad(loss: Tensor, wrt: readonly Tensor[]): readonly Tensor[] {
  if (loss.rank !== 0)
    throw new TsumikiError(
      "GRADIENT",
      `The gradient of ${loss.describe()} was asked for, but only a scalar has one: reduce it first, e.g. with mean().`,
    );
  return vectorJacobian([loss], [onesLike(loss)], wrt);
}

/** Σ over `outputs` of seedᵀ·∂output/∂w for each `w` in `wrt`; zeros where no output depends on it. */
export function vectorJacobian(outputs: readonly Tensor[], seeds: readonly Tensor[], wrt: readonly Tensor[]): readonly Tensor[] {
  return partialVectorJacobian(outputs, seeds, wrt).map((gradient, i) => gradient ?? zerosLike(wrt[i] as Tensor));
}

export interface PartialOptions {
  /** Nodes with a smaller id count as constants, unless they are in `wrt`: only what was made since is differentiated. */
  readonly since?: number;
}

/** The same, with `undefined` where no output depends on `w`. */
export function partialVectorJacobian(
  outputs: readonly Tensor[],
  seeds: readonly Tensor[],
  wrt: readonly Tensor[],
  { since = 0 }: PartialOptions = {},
): readonly (Tensor | undefined)[] {
  for (const tensor of wrt)
    if (!isFloat(tensor.dtype)) throw new TsumikiError("GRADIENT", `${tensor.describe()} has no gradient: only floats have.`);

  const targets = new Set(wrt);
  // Nothing older than the oldest target depends on one.
  const oldest = wrt.reduce((id, tensor) => Math.min(id, tensor.node.id), Number.POSITIVE_INFINITY);
  const first = Math.max(since, oldest);
  const nodes = nodesOf(outputs, (node) => node.id < first).filter((node) => node.id >= first);
  const leads = dependents(nodes, targets);

  const gradients = new Map<Tensor, Tensor>();
  const accumulate = (tensor: Tensor, gradient: Tensor) => {
    const sum = gradients.get(tensor);
    gradients.set(tensor, sum ? add(sum, gradient) : gradient);
  };
  for (const [i, output] of outputs.entries()) accumulate(output, seeds[i] as Tensor);

  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i] as Node;
    if (node.op.vjp === "nonDifferentiable" || !node.inputs.some((input) => leads.has(input))) continue;
    if (!node.outputs.some((output) => gradients.has(output))) continue;
    const { vjp } = node.op;
    withScope(node.scope, () => {
      const received = node.outputs.map((output) => gradients.get(output) ?? zerosLike(output));
      const given = vjp({ inputs: node.inputs, outputs: node.outputs, gradients: received, attributes: node.attributes });
      node.inputs.forEach((input, k) => {
        const gradient = given[k];
        if (!gradient || !leads.has(input)) return;
        if (!sameShape(gradient.shape, input.shape))
          throw new TsumikiError(
            "GRADIENT",
            `The vjp of '${node.op.name}' gave a gradient of shape ${formatShape(gradient.shape)} for operand ${k}, which has shape ${formatShape(input.shape)}.`,
          );
        if (gradient.dtype !== input.dtype)
          throw new TsumikiError(
            "GRADIENT",
            `The vjp of '${node.op.name}' gave a ${gradient.dtype} gradient for operand ${k}, which is ${input.dtype}.`,
          );
        accumulate(input, gradient);
      });
    });
  }
  return wrt.map((tensor) => gradients.get(tensor));
}

/** The float tensors among the nodes through which a change of a target reaches an output. */
function dependents(nodes: readonly Node[], targets: ReadonlySet<Tensor>): ReadonlySet<Tensor> {
  const reached = new Set<Tensor>(targets);
  for (const node of nodes) {
    if (node.op.vjp === "nonDifferentiable" || !node.inputs.some((input) => reached.has(input))) continue;
    for (const output of node.outputs) if (isFloat(output.dtype)) reached.add(output);
  }
  return reached;
}

/** Whether it can be seen that nothing flows back: a vjp may leave out what it would compute from such a gradient. */
export const isZeros = (gradient: Tensor): boolean => uniformValue(gradient) === 0;
