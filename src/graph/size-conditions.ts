/**
 * What must hold of sizes for a graph to mean what it says. With symbolic sizes that shows only when they are bound: engines clamp a
 * slice that reaches past the end, and broadcast the one row that is left of it, without a word.
 */

import { ShapeError } from "../errors.js";
import { atomsOf, type Bindings, bindDim, computedAtoms, sameDim } from "./dim.js";
import { type Graph, nodesOf } from "./graph.js";
import { range } from "./ops/range.js";
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
export const dependsOnData = (node: Node): boolean => openRequirements(node).some(isOfData);

const isOfData = ({ nonNegative }: SizeRequirement): boolean => computedAtoms(nonNegative).length > 0;

const conditionsOfGraphs = new WeakMap<Graph, readonly Condition[]>();

/**
 * All conditions on sizes that can be known outside of loops, whose bodies are included. Branches are not: their condition may be that
 * something fits. What does not fit there is found when the branch runs (see `writer.ts`).
 */
function conditionsOf(graph: Graph): readonly Condition[] {
  const known = conditionsOfGraphs.get(graph);
  if (known) return known;
  const conditions: Condition[] = [];
  const outside = new Set(
    nodesOf(graph.outputs.values()).flatMap(({ outputs }) => outputs.flatMap(({ shape }) => shape.flatMap(computedAtoms))),
  );
  const visit = (outputs: Iterable<Tensor>): void => {
    for (const node of nodesOf(outputs)) {
      for (const requirement of openRequirements(node)) {
        const { nonNegative } = requirement;
        const isNew = !conditions.some((other) => sameDim(other.nonNegative, nonNegative));
        if (isNew && computedAtoms(nonNegative).every((atom) => outside.has(atom))) conditions.push({ ...requirement, node });
      }
      const { body } = node.attributes;
      if (isScanBody(body)) visit([...body.nextCarry, ...body.outputs]);
    }
  };
  visit(graph.outputs.values());
  conditionsOfGraphs.set(graph, conditions);
  return conditions;
}

/** Values that a graph must compute besides, of which each must come out at least 0: sizes that the data decides about. */
export interface DataCondition {
  /** An int64 vector of one element. */
  readonly value: Tensor;
  /** Throws a ShapeError when the value is negative. */
  check(value: number): void;
}

export const dataConditions = (graph: Graph): readonly DataCondition[] =>
  conditionsOf(graph)
    .filter(isOfData)
    .map(({ nonNegative, otherwise, node }) => ({
      value: range(1, "int64", nonNegative),
      check(value) {
        if (value < 0)
          throw conditionError(node, otherwise, `${String(nonNegative)} is ${value}, found out while the program ran`);
      },
    }));

/** Throws a ShapeError when sizes with which a graph is to run do not go together with what it does. */
export function checkSizes(graph: Graph, bindings: Bindings): void {
  for (const condition of conditionsOf(graph)) {
    const { nonNegative, otherwise, node } = condition;
    if (isOfData(condition) || bindDim(nonNegative, bindings) >= 0) continue;
    const atoms = atomsOf(nonNegative);
    const sizes = [...bindings].filter(([atom]) => atoms.includes(atom)).map(([{ name }, size]) => `${name} = ${size}`);
    throw conditionError(node, otherwise, `with the sizes that were fed: ${sizes.join(", ")}`);
  }
}

const conditionError = ({ op, inputs, scope }: Node, otherwise: string, because: string): ShapeError =>
  new ShapeError(
    `${op.name}: ${otherwise}\n  ${because}\n  operands: ${inputs.map((input) => input.describe()).join(", ") || "none"}${scope ? `\n  in module: ${scope}` : ""}`,
  );
