/** Sums of products in index notation (Einstein 1916), as in NumPy. */

import { ArgumentError, ShapeError } from "../../errors.js";
import { type Dim, productOf, sameDim } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { mul } from "./arithmetic.js";
import { sum } from "./broadcasting.js";
import { equal } from "./compare.js";
import { matmul } from "./matmul.js";
import { range } from "./range.js";
import { where } from "./select.js";
import { reshape, squeeze, transpose } from "./shape.js";

/** A tensor with a label for each axis: a letter, or `.0`, `.1`, ... for the axes behind an ellipsis, counted from the last. */
interface Term {
  readonly tensor: Tensor;
  readonly labels: readonly string[];
}

/**
 * Σ over all labels that the output does not have of the product of the operands. `einsum("bqd,bkd->bqk", q, k)` is q · kᵀ for each b.
 *
 * Every operand has a letter for each of its axes; `...` stands for axes that broadcast. A letter twice in one operand takes its
 * diagonal. Without `->` the output has the ellipsis and, in alphabetical order, the letters that occur once. Operands are
 * contracted from left to right, each step as one matrix product. Throws an ArgumentError for a malformed equation, a ShapeError when
 * the axes do not fit it.
 */
export function einsum(equation: string, ...tensors: readonly Tensor[]): Tensor {
  const { inputs, output } = parse(equation, tensors);
  const sizes = labelSizes(equation, tensors, inputs);
  const terms = tensors.map((tensor, i) => distinctLabels({ tensor, labels: inputs[i] as readonly string[] }, sizes));
  const [first, ...others] = terms as [Term, ...Term[]];
  let result = first;
  for (const [i, next] of others.entries()) {
    const needed = new Set([...output, ...others.slice(i + 1).flatMap(({ labels }) => labels)]);
    result = contract(sumOut(result, [...needed, ...next.labels]), sumOut(next, [...needed, ...result.labels]), needed);
  }
  return ordered(sumOut(result, output), output);
}

interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

function parse(equation: string, tensors: readonly Tensor[]): Equation {
  const fail = (reason: string): never => {
    throw new ArgumentError(`einsum: '${equation}' ${reason}.`);
  };
  const [left = "", right, ...rest] = equation.replaceAll(" ", "").split("->");
  if (rest.length > 0) fail("has more than one `->`");
  const subscripts = left.split(",");
  if (subscripts.length !== tensors.length) fail(`is for ${subscripts.length} operands, but ${tensors.length} were given`);
  for (const subscript of right === undefined ? subscripts : [...subscripts, right])
    if (!/^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(subscript))
      fail(`has '${subscript}', but an operand is letters and at most one ellipsis`);

  const inputs = subscripts.map((subscript, i) => {
    const { rank } = tensors[i] as Tensor;
    const letters = subscript.replace("...", "").length;
    if (subscript.includes("...") ? letters > rank : letters !== rank)
      throw new ShapeError(
        `einsum: '${subscript}' in '${equation}' does not fit operand ${i}, ${(tensors[i] as Tensor).describe()}, of rank ${rank}.`,
      );
    return expand(subscript, rank - letters);
  });
  const all = inputs.flat();
  const hidden = [...new Set(all.filter((label) => label.startsWith(".")))].length;
  const once = [...new Set(all)].filter((label) => !label.startsWith(".") && all.indexOf(label) === all.lastIndexOf(label));
  const output = expand(right ?? `...${once.sort().join("")}`, hidden);
  if (new Set(output).size < output.length) fail("has a letter twice in its output");
  for (const label of output) if (!all.includes(label)) fail(`has '${label}' in its output, but in none of its operands`);
  return { inputs, output };
}

/** The labels of a subscript whose ellipsis stands for so many axes. */
const expand = (subscript: string, hidden: number): readonly string[] =>
  (subscript.match(/\.\.\.|[A-Za-z]/g) ?? []).flatMap((part) =>
    part === "..." ? Array.from({ length: hidden }, (_, i) => `.${hidden - 1 - i}`) : [part],
  );

/** The size of each label; behind an ellipsis, sizes of 1 broadcast. */
function labelSizes(equation: string, tensors: readonly Tensor[], inputs: Equation["inputs"]): ReadonlyMap<string, Dim> {
  const sizes = new Map<string, Dim>();
  for (const [i, labels] of inputs.entries())
    for (const [axis, label] of labels.entries()) {
      const size = (tensors[i] as Tensor).size(axis);
      const known = sizes.get(label);
      if (known === undefined || (known === 1 && label.startsWith("."))) sizes.set(label, size);
      else if (!sameDim(known, size) && !(size === 1 && label.startsWith(".")))
        throw new ShapeError(`einsum: '${label}' in '${equation}' is both ${String(known)} and ${String(size)}.`);
    }
  return sizes;
}

/** Takes the diagonal of repeated labels and drops axes of size 1 that broadcast. */
function distinctLabels({ tensor, labels }: Term, sizes: ReadonlyMap<string, Dim>): Term {
  const broadcast = labels.flatMap((label, axis) => (sameDim(tensor.size(axis), sizes.get(label) as Dim) ? [] : [axis]));
  if (broadcast.length > 0)
    return distinctLabels(
      { tensor: squeeze(tensor, broadcast), labels: labels.filter((_, axis) => !broadcast.includes(axis)) },
      sizes,
    );
  const second = labels.findIndex((label, axis) => labels.indexOf(label) < axis);
  if (second < 0) return { tensor, labels };
  const first = labels.indexOf(labels[second] as string);
  const size = tensor.size(first);
  const along = (axis: number) =>
    reshape(
      range(size),
      tensor.shape.map((_, i) => (i === axis ? size : 1)),
    );
  const diagonal = sum(where(equal(along(first), along(second)), tensor, 0), { axes: [second] });
  return distinctLabels({ tensor: diagonal, labels: labels.toSpliced(second, 1) }, sizes);
}

/** Sums over the axes whose labels are not kept. */
function sumOut({ tensor, labels }: Term, kept: readonly string[]): Term {
  const axes = labels.flatMap((label, axis) => (kept.includes(label) ? [] : [axis]));
  if (axes.length === 0) return { tensor, labels };
  return { tensor: sum(tensor, { axes }), labels: labels.filter((label) => kept.includes(label)) };
}

/** The product of two terms, summed over the labels that both have and nobody needs. */
function contract(a: Term, b: Term, needed: ReadonlySet<string>): Term {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter((label) => needed.has(label));
  const inner = shared.filter((label) => !needed.has(label));
  const rows = a.labels.filter((label) => !shared.includes(label));
  const columns = b.labels.filter((label) => !shared.includes(label));
  const labels = [...batch, ...rows, ...columns];
  if (inner.length === 0) return { tensor: mul(alignedWith(a, labels), alignedWith(b, labels)), labels };

  const sizeOf = (label: string): Dim => {
    const owner = a.labels.includes(label) ? a : b;
    return owner.tensor.size(owner.labels.indexOf(label));
  };
  const left = asMatrices(a, batch, rows, inner);
  const right = asMatrices(b, batch, inner, columns);
  const product = matmul(left.tensor, right.tensor, { transposeA: left.transposed, transposeB: right.transposed });
  return { tensor: reshape(product, labels.map(sizeOf)), labels };
}

/** [...batch, rows, columns] with rows and columns flattened; as it stands and marked as transposed where the axes lie so. */
function asMatrices(
  term: Term,
  batch: readonly string[],
  rows: readonly string[],
  columns: readonly string[],
): { readonly tensor: Tensor; readonly transposed: boolean } {
  const transposed = term.labels.join() === [...batch, ...columns, ...rows].join() && rows.length > 0;
  const groups = transposed ? [columns, rows] : [rows, columns];
  const tensor = ordered(term, [...batch, ...groups.flat()]);
  const [first, second] = groups as [readonly string[], readonly string[]];
  const split = batch.length + first.length;
  const { shape } = tensor;
  const matrix = [productOf(shape.slice(batch.length, split)), productOf(shape.slice(split, split + second.length))];
  return { tensor: reshape(tensor, [...shape.slice(0, batch.length), ...matrix]), transposed };
}

/** Axes in the order of the labels, with size 1 for the labels that the term does not have. */
function alignedWith(term: Term, labels: readonly string[]): Tensor {
  const own = labels.filter((label) => term.labels.includes(label));
  const tensor = ordered(term, own);
  return reshape(
    tensor,
    labels.map((label) => (own.includes(label) ? tensor.size(own.indexOf(label)) : 1)),
  );
}

/** Axes in the order of the labels, which are those of the term. */
function ordered({ tensor, labels }: Term, order: readonly string[]): Tensor {
  const permutation = order.map((label) => labels.indexOf(label));
  return permutation.every((axis, i) => axis === i) ? tensor : transpose(tensor, permutation);
}
