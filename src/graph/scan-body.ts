/** The body of a loop: what depends on the step stays inside, everything else is computed once outside. */

import type { Dim, Shape } from "./dim.js";
import type { DType } from "./dtype.js";
import { copyNodes, nodesOf } from "./graph.js";
import { constantOp, noiseOp } from "./leaves.js";
import { leafOp } from "./op.js";
import { dependenciesOf, makeNode, type Node, type Tensor } from "./tensor.js";
import { currentScope } from "./trace.js";

/** Stands for a value that differs from step to step. Meaningful only inside the body that it belongs to. */
export const placeholderOp = leafOp("placeholder");

export const placeholder = (dtype: DType, shape: Shape): Tensor =>
  makeNode(placeholderOp, [], {}, [{ dtype, shape }], currentScope()).outputs[0] as Tensor;

export const placeholderLike = ({ dtype, shape }: Tensor): Tensor => placeholder(dtype, shape);

/** Everything that a step computes, from placeholders and constants alone. */
export interface ScanBody {
  /** Placeholder: what the step before has passed on. */
  readonly carry: readonly Tensor[];
  /** Placeholder: this step's element of each sequence. */
  readonly elements: readonly Tensor[];
  /** Placeholder: a value from outside, the same in every step. */
  readonly captured: readonly Tensor[];
  /** What the step passes on: for each carry, of its dtype and shape. */
  readonly nextCarry: readonly Tensor[];
  /** What the step gives out. */
  readonly outputs: readonly Tensor[];
}

/** A body as it was traced: it may read any tensor. */
export type OpenBody = Omit<ScanBody, "captured">;

export interface ClosedBody {
  readonly body: ScanBody;
  /** The outer tensors behind `body.captured`. */
  readonly captured: readonly Tensor[];
  /** The sequences behind the elements that were added for noise. */
  readonly noise: readonly Tensor[];
}

export interface CloseOptions {
  readonly steps: Dim;
  /** Noise made since this mark is drawn anew in each step. */
  readonly since: number;
  /** Tensors that the body reads under another name: what to use instead, outside. */
  readonly substitutes?: ReadonlyMap<Tensor, Tensor>;
}

/** Splits a body from its surroundings. */
export function closeBody(open: OpenBody, { steps, since, substitutes = new Map() }: CloseOptions): ClosedBody {
  const roots = [...open.nextCarry, ...open.outputs];
  const nodes = nodesOf(roots);

  const noise = nodes.filter((node) => node.op === noiseOp && node.id >= since).map((node) => node.outputs[0] as Tensor);
  const noiseElements = noise.map(placeholderLike);
  const noiseSequences = noise.map(
    ({ node, dtype, shape }) =>
      makeNode(noiseOp, [], node.attributes, [{ dtype, shape: [steps, ...shape] }], node.scope).outputs[0] as Tensor,
  );

  const inside = dependentNodes(nodes, [...open.carry, ...open.elements, ...noise]);
  const own = new Set<Tensor>([...open.carry, ...open.elements, ...noise]);
  const fromOutside = [...new Set([...inside].flatMap(dependenciesOf).concat(roots))].filter(
    (tensor) => !inside.has(tensor.node) && !own.has(tensor) && tensor.node.op !== constantOp,
  );

  // What does not depend on the step, but was written in terms of substitutes, is rebuilt outside.
  const outer = new Map(substitutes);
  copyNodes(
    nodes.filter((node) => !inside.has(node)),
    outer,
  );
  const captured = fromOutside.map(placeholderLike);
  const replacement = new Map<Tensor, Tensor>([
    ...fromOutside.map((tensor, i): [Tensor, Tensor] => [tensor, captured[i] as Tensor]),
    ...noise.map((tensor, i): [Tensor, Tensor] => [tensor, noiseElements[i] as Tensor]),
  ]);
  copyNodes([...inside], replacement);
  const replaced = (tensor: Tensor): Tensor => replacement.get(tensor) ?? tensor;
  return {
    body: {
      carry: open.carry,
      elements: [...open.elements, ...noiseElements],
      captured,
      nextCarry: open.nextCarry.map(replaced),
      outputs: open.outputs.map(replaced),
    },
    captured: fromOutside.map((tensor) => outer.get(tensor) ?? tensor),
    noise: noiseSequences,
  };
}

function dependentNodes(nodes: readonly Node[], leaves: readonly Tensor[]): ReadonlySet<Node> {
  const reached = new Set(leaves.map(({ node }) => node));
  const dependent = new Set<Node>();
  for (const node of nodes)
    if (dependenciesOf(node).some((tensor) => reached.has(tensor.node))) {
      reached.add(node);
      dependent.add(node);
    }
  return dependent;
}

/** Which parts of a body are needed for some of its results: a carry that nothing needs is not carried. */
export interface NeededParts {
  readonly carry: ReadonlySet<number>;
  readonly elements: ReadonlySet<number>;
}

export function neededParts(body: ScanBody, carry: Iterable<number>, outputs: Iterable<number>): NeededParts {
  const neededCarry = new Set(carry);
  const neededElements = new Set<number>();
  const seen = new Set<Tensor>();
  const pending = [
    ...[...neededCarry].map((i) => body.nextCarry[i] as Tensor),
    ...[...outputs].map((i) => body.outputs[i] as Tensor),
  ];
  for (let root = pending.pop(); root; root = pending.pop()) {
    if (seen.has(root)) continue;
    seen.add(root);
    const leaves = new Set(nodesOf([root]).map((node) => node.outputs[0]));
    for (const [i, tensor] of body.elements.entries()) if (leaves.has(tensor)) neededElements.add(i);
    for (const [i, tensor] of body.carry.entries())
      if (leaves.has(tensor)) {
        neededCarry.add(i);
        pending.push(body.nextCarry[i] as Tensor);
      }
  }
  return { carry: neededCarry, elements: neededElements };
}

export const isScanBody = (value: unknown): value is ScanBody =>
  typeof value === "object" && value !== null && "nextCarry" in value && "captured" in value;

/** The attributes of a `scan` node. Its operands: carry, sequences, captured values. */
export interface ScanAttributes {
  readonly body: ScanBody;
  /** From the last element of the sequences to the first; outputs stay at the place of their element. */
  readonly reverse: boolean;
  /** Set inside a model, in a branch where there is at least one step. */
  readonly nonEmpty?: boolean;
}

/** Splits the operands (or gradients for them) of a node. */
export function operandsOf<T>(
  body: ScanBody,
  inputs: readonly T[],
): { carry: readonly T[]; sequences: readonly T[]; captured: readonly T[] } {
  const sequencesAt = body.carry.length;
  const capturedAt = sequencesAt + body.elements.length;
  return {
    carry: inputs.slice(0, sequencesAt),
    sequences: inputs.slice(sequencesAt, capturedAt),
    captured: inputs.slice(capturedAt, capturedAt + body.captured.length),
  };
}

/** Splits the results of a node: last carries, stacked outputs, and the carries that entered each step, stacked. */
export function resultsOf<T>(
  body: ScanBody,
  outputs: readonly T[],
): { final: readonly T[]; stacked: readonly T[]; history: readonly T[] } {
  const stackedAt = body.carry.length;
  const historyAt = stackedAt + body.outputs.length;
  return { final: outputs.slice(0, stackedAt), stacked: outputs.slice(stackedAt, historyAt), history: outputs.slice(historyAt) };
}
