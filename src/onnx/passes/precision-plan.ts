/** What is computed in bfloat16: the decisions behind `precision.ts`, made before anything is rewritten. */

import { sameShape } from "../../graph/dim.js";
import { isFloat, roundTo } from "../../graph/dtype.js";
import { constantScalar } from "../../graph/leaves.js";
import type { Node, Tensor } from "../../graph/tensor.js";

export interface PrecisionPlan {
  /** float32 tensors that are made in bfloat16: products, what lies between them, and either of them moved. */
  readonly bornNarrow: ReadonlySet<Tensor>;
  /** How many nodes read a tensor in bfloat16, products or what moves it to one. */
  readonly narrowReaders: ReadonlyMap<Tensor, number>;
}

/** What is left of these in a model is their operands. */
export const passesThrough = ({ op }: Node): boolean => op.traits.alias === true;

export const isProduct = ({ op, outputs }: Node): boolean => op.name === "matmul" && outputs[0]?.dtype === "float32";

/** Element by element, of floats. */
const isElementwise = ({ op, outputs }: Node): boolean => op.traits.elementwise === true && isFloat((outputs[0] as Tensor).dtype);

/** Whether a node moves float32 elements and does nothing else. */
export function moves({ op, outputs, attributes }: Node): boolean {
  if (!op.traits.moves || outputs[0]?.dtype !== "float32") return false;
  return op.name !== "pad" || isExact(attributes.value as number);
}

/** The operands whose elements a node takes: not the zero that a barrier waits for. */
export const movedOperands = ({ inputs }: Node): readonly Tensor[] => inputs.filter(({ dtype }) => dtype === "float32");

const isExact = (value: number): boolean => roundTo("bfloat16", value) === value;

/** @param nodes in topological order */
export function planPrecision(nodes: readonly Node[], outputs: Iterable<Tensor>): PrecisionPlan {
  const results = new Set(outputs);
  // The largest set of links of which each lies between products and other links only: those that do not are taken out
  // until none is left that does not.
  const links = new Set(nodes.filter((node) => node.op.traits.gentle && node.outputs[0]?.dtype === "float32"));
  for (let before = -1; before !== links.size; ) {
    before = links.size;
    const bornNarrow = findBornNarrow(nodes, links);
    const readers = readersOf(nodes, links, results);
    for (const link of links) {
      const [output] = link.outputs as readonly [Tensor];
      const { toProduct, elsewhere } = readers.get(output) ?? noReaders;
      if (!bornNarrow.has(output) || toProduct === 0 || elsewhere > 0) links.delete(link);
    }
  }
  const readers = readersOf(nodes, links, results);
  return {
    bornNarrow: findBornNarrow(nodes, links),
    narrowReaders: new Map([...readers].map(([tensor, { toProduct }]) => [tensor, toProduct])),
  };
}

function findBornNarrow(nodes: readonly Node[], links: ReadonlySet<Node>): ReadonlySet<Tensor> {
  const born = new Set<Tensor>();
  for (const node of nodes) {
    const { inputs, outputs, attributes } = node;
    if (passesThrough(node)) for (const [i, output] of outputs.entries()) born.has(inputs[i] as Tensor) && born.add(output);
    else if (
      (isProduct(node) && hasExactScale(attributes)) ||
      (moves(node) && movedOperands(node).every((operand) => born.has(operand))) ||
      (links.has(node) && isLink(node, born))
    )
      for (const output of outputs) born.add(output);
  }
  return born;
}

/** Rounded to bfloat16, a factor that is no power of 2 would be off by up to 2⁻⁹, everywhere in the same direction. */
function hasExactScale(attributes: Node["attributes"]): boolean {
  const { scale = 1 } = attributes as { readonly scale?: number };
  return Number.isInteger(Math.log2(Math.abs(scale)));
}

/** Operands of the result's size are narrow already; a vector that is added to each row is cast; a constant loses nothing. */
function isLink({ inputs, outputs }: Node, born: ReadonlySet<Tensor>): boolean {
  const [{ shape }] = outputs as readonly [Tensor];
  return (
    inputs.some((input) => born.has(input) && sameShape(input.shape, shape)) &&
    inputs.every((input) => {
      const constant = constantScalar(input);
      if (constant !== undefined) return isExact(constant);
      return born.has(input) || input.rank < shape.length;
    })
  );
}

interface Readers {
  /** Those that take it in bfloat16, or move it for one that does. */
  readonly toProduct: number;
  /**
   * Those that lead elsewhere than to products, elementwise operators seen through. Sums do not count: they read what is
   * rounded and add it up in float32.
   */
  readonly elsewhere: number;
}

const noReaders: Readers = { toProduct: 0, elsewhere: 0 };

function readersOf(nodes: readonly Node[], links: ReadonlySet<Node>, results: ReadonlySet<Tensor>): ReadonlyMap<Tensor, Readers> {
  const readers = new Map<Tensor, Readers>(Array.from(results, (result) => [result, { toProduct: 0, elsewhere: 1 }]));
  const add = (tensor: Tensor, { toProduct, elsewhere }: Readers) => {
    const before = readers.get(tensor) ?? noReaders;
    readers.set(tensor, { toProduct: before.toProduct + toProduct, elsewhere: before.elsewhere + elsewhere });
  };
  for (const node of nodes.toReversed()) {
    const { op, inputs, outputs } = node;
    const behind = outputs.map((output) => readers.get(output) ?? noReaders);
    const elsewhere = behind.reduce((total, each) => total + each.elsewhere, 0);
    if (passesThrough(node)) for (const [i, each] of behind.entries()) add(inputs[i] as Tensor, each);
    else if (isProduct(node) || links.has(node)) for (const input of inputs) add(input, { toProduct: 1, elsewhere: 0 });
    else if (moves(node)) {
      const toProduct = Number(behind.some((each) => each.toProduct > 0));
      for (const input of new Set(movedOperands(node))) add(input, { toProduct, elsewhere });
    } else if (isElementwise(node)) for (const input of inputs) add(input, { toProduct: 0, elsewhere });
    else if (op.name !== "sum") for (const input of inputs) add(input, { toProduct: 0, elsewhere: 1 });
  }
  return readers;
}
