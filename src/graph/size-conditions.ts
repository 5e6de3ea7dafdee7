/**
 * What must hold of sizes for a graph to mean what it says. With symbolic sizes that shows only when they are bound: engines clamp a
 * slice that reaches past the end, and broadcast the one row that is left of it, without a word.
 */

import { ShapeError } from "../errors.js";
import { type Bindings, bindDim, computedAtoms, type Dim, sameDim } from "./dim.js";
import { type Graph, nodesOf } from "./graph.js";
import { isScanBody } from "./scan-body.js";
import { isNeverNegative, type SizeRequirement } from "./size-requirement.js";
import type { Node, Tensor } from "./tensor.js";

interface Condition extends SizeRequirement {
  readonly node: Node;
}

/** The requirements of a node about which its sizes have to decide. */
export function openRequirements(node: Node): readonly SizeRequirement[] {
  if (node.op.leaf) return [];
  const own = node.op.requires(node.inputs, node.attributes);
  const sizes = node.outputs.flatMap(({ shape }) =>
    shape.map((dim) => ({ nonNegative: dim, otherwise: `a result would have the size ${String(dim)}` })),
  );
  return [...own, ...sizes].filter(({ nonNegative }) => !isNeverNegative(nonNegative));
}

/** Whether the data decides if the results of a node have the shapes that they should have. */
export const dependsOnData = (node: Node): boolean =>
  openRequirements(node).some(({ nonNegative }) => computedAtoms(nonNegative).length > 0);

const conditionsOfGraphs = new WeakMap<Graph, readonly Condition[]>();

/** All conditions on sizes that are known before a graph runs, bodies of loops included. */
function conditionsOf(graph: Graph): readonly Condition[] {
  const known = conditionsOfGraphs.get(graph);
  if (known) return known;
  const conditions: Condition[] = [];
  const visit = (outputs: Iterable<Tensor>): void => {
    for (const node of nodesOf(outputs)) {
      for (const requirement of openRequirements(node)) {
        const { nonNegative } = requirement;
        const isNew = !conditions.some((other) => sameDim(other.nonNegative, nonNegative));
        if (isNew && computedAtoms(nonNegative).length === 0) conditions.push({ ...requirement, node });
      }
      for (const body of Object.values(node.attributes)) if (isScanBody(body)) visit([...body.nextCarry, ...body.outputs]);
    }
  };
  visit(graph.outputs.values());
  conditionsOfGraphs.set(graph, conditions);
  return conditions;
}

/** Throws a ShapeError when sizes with which a graph is to run do not go together with what it does. */
export function checkSizes(graph: Graph, bindings: Bindings): void {
  for (const { nonNegative, otherwise, node } of conditionsOf(graph)) {
    if (bindDim(nonNegative, bindings) >= 0) continue;
    const sizes = [...bindings].filter(([{ id }]) => mentions(nonNegative, id)).map(([{ name }, size]) => `${name} = ${size}`);
    throw new ShapeError(
      `${node.op.name}: ${otherwise}\n  with the sizes that were fed: ${sizes.join(", ")}\n  operands: ${node.inputs.map((input) => input.describe()).join(", ") || "none"}${node.scope ? `\n  in module: ${node.scope}` : ""}`,
    );
  }
}

function mentions(dim: Dim, id: number): boolean {
  if (typeof dim === "number") return false;
  return dim.terms.some(({ atoms }) =>
    atoms.some((atom) => atom.id === id || (atom.quotient !== undefined && mentions(atom.quotient.numerator, id))),
  );
}
