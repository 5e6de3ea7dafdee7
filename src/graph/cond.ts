/** A choice between two computations, of which only the chosen one runs. (`where` computes both.) */

import { ArgumentError, DTypeError, ShapeError } from "../errors.js";
import { formatShape, sameShape } from "./dim.js";
import { isFloat } from "./dtype.js";
import type { ExampleMaker } from "./example.js";
import { partialVectorJacobian } from "./gradient.js";
import { copyNodes, nodesOf } from "./graph.js";
import { constantOp } from "./leaves.js";
import { type Bound, defineOp } from "./op.js";
import { exp, mul } from "./ops/arithmetic.js";
import { zerosLike } from "./ops/fill.js";
import { placeholder, placeholderLike, type ScanBody } from "./scan-body.js";
import { dependenciesOf, nodeIdMark, type Tensor } from "./tensor.js";
import { assignedSince } from "./trace.js";

/** Bodies without carry and elements: what they read from outside, and their results. */
interface CondAttributes {
  readonly whenTrue: ScanBody;
  readonly whenFalse: ScanBody;
}

/** Splits what stands behind the condition: the captured values of either branch. */
function capturedOf<T>({ whenTrue }: CondAttributes, inputs: readonly T[]): readonly [readonly T[], readonly T[]] {
  const second = 1 + whenTrue.captured.length;
  return [inputs.slice(1, second), inputs.slice(second)];
}

/** The results of a branch on other captured values. */
function replayed(body: ScanBody, captured: readonly Tensor[]): readonly Tensor[] {
  const replacement = new Map(body.captured.map((tensor, i) => [tensor, captured[i] as Tensor]));
  copyNodes(nodesOf(body.outputs), replacement);
  return body.outputs.map((tensor) => replacement.get(tensor) ?? tensor);
}

const condOp = defineOp<CondAttributes>({
  name: "cond",
  accepts: "mixed",
  outputs: ({ whenTrue }) => whenTrue.outputs.length,
  dtype: (_, { whenTrue }) => whenTrue.outputs.map(({ dtype }) => dtype),
  shape(inputs, attributes) {
    const [condition] = inputs;
    const { whenTrue, whenFalse } = attributes;
    const captured = capturedOf(attributes, inputs).flat();
    for (const [i, { dtype }] of [...whenTrue.captured, ...whenFalse.captured].entries())
      if (captured[i]?.dtype !== dtype)
        throw new DTypeError(`captured value ${i} is ${captured[i]?.dtype}, but ${dtype} is needed`);
    if (condition.dtype !== "bool" || condition.rank !== 0)
      throw new DTypeError(`the condition must be one bool, a scalar, but it is ${condition.describe()}; use \`all\` or \`any\``);
    if (whenTrue.outputs.length !== whenFalse.outputs.length)
      throw new ArgumentError(
        `both branches give equally many results, but one gave ${whenTrue.outputs.length} and the other ${whenFalse.outputs.length}`,
      );
    for (const [i, { dtype, shape }] of whenTrue.outputs.entries()) {
      const other = whenFalse.outputs[i] as Tensor;
      if (dtype !== other.dtype || !sameShape(shape, other.shape))
        throw new ShapeError(
          `result ${i} is ${dtype}${formatShape(shape)} in one branch and ${other.dtype}${formatShape(other.shape)} in the other`,
        );
    }
    return whenTrue.outputs.map(({ shape }) => shape);
  },
  // The other way through the same branch, which is computed once more on the way.
  vjp({ inputs, gradients, attributes }) {
    const captured = capturedOf(attributes, inputs);
    const floats = captured.map((tensors) => tensors.filter(({ dtype }) => isFloat(dtype)));
    const flowing = [...gradients.keys()].filter((i) => isFloat((gradients[i] as Tensor).dtype));
    const branch = (side: 0 | 1, body: ScanBody) => (): readonly Tensor[] => {
      const since = nodeIdMark();
      const outputs = replayed(body, captured[side]);
      const wrt = [...new Set(floats[side])];
      const found = partialVectorJacobian(
        flowing.map((i) => outputs[i] as Tensor),
        flowing.map((i) => gradients[i] as Tensor),
        wrt,
        { since },
      );
      const seen = new Set<Tensor>();
      return floats.flatMap((tensors, at) =>
        tensors.map((tensor) => {
          // A value that was captured twice gets its gradient once.
          const own = at === side && !seen.has(tensor) ? found[wrt.indexOf(tensor)] : undefined;
          if (at === side) seen.add(tensor);
          return own ?? zerosLike(tensor);
        }),
      );
    };
    const results = cond(inputs[0], branch(0, attributes.whenTrue), branch(1, attributes.whenFalse)).values();
    return [undefined, ...captured.flat().map(({ dtype }) => (isFloat(dtype) ? (results.next().value as Tensor) : undefined))];
  },
  onnx(node, [condition], { inputs, outputs, attributes, used }) {
    const wanted = [...outputs.keys()].filter(used);
    const captured = capturedOf(attributes, inputs as readonly Tensor[]);
    const branch = (side: 0 | 1, body: ScanBody) => {
      const results = replayed(body, captured[side]);
      return { body: { inputs: [], outputs: wanted.map((i) => results[i] as Tensor) } };
    };
    const results = node.many("If", [condition], wanted.length, {
      then_branch: branch(0, attributes.whenTrue),
      else_branch: branch(1, attributes.whenFalse),
    });
    return outputs.map((_, i) => results[Math.max(0, wanted.indexOf(i))] as (typeof results)[number]);
  },
  reference(inputs, attributes, { evaluate }) {
    const bodies = attributes as Bound<unknown> as CondAttributes;
    const chosen = inputs[0].data[0] !== 0;
    const body = chosen ? bodies.whenTrue : bodies.whenFalse;
    const captured = capturedOf(bodies, inputs)[chosen ? 0 : 1];
    return evaluate(body.outputs, new Map(body.captured.map((tensor, i) => [tensor, captured[i] as (typeof captured)[number]])));
  },
  examples: (make) => [condExample(make, ["a", "b"]), condExample(make, [])],
});

/** What was made since the mark stays inside; everything older, and every leaf but constants, is captured. */
function closeBranch(
  outputs: readonly Tensor[],
  since: number,
): { readonly body: ScanBody; readonly captured: readonly Tensor[] } {
  const isInside = ({ node }: Tensor): boolean => node.op === constantOp || (node.id >= since && !node.op.leaf);
  const nodes = nodesOf(outputs, (node) => node.id < since).filter(({ id, op }) => id >= since && !op.leaf);
  const captured = [...new Set([...nodes.flatMap(dependenciesOf), ...outputs])].filter((tensor) => !isInside(tensor));
  const placeholders = captured.map(placeholderLike);
  const replacement = new Map(captured.map((tensor, i) => [tensor, placeholders[i] as Tensor]));
  copyNodes(nodes, replacement);
  const body = {
    carry: [],
    elements: [],
    nextCarry: [],
    captured: placeholders,
    outputs: outputs.map((tensor) => replacement.get(tensor) ?? tensor),
  };
  return { body, captured };
}

type Tensors<T extends readonly Tensor[]> = { readonly [K in keyof T]: Tensor };

/**
 * The results of `whenTrue` where the condition (a bool scalar) holds, else those of `whenFalse`; only one of them is computed, forward and
 * backward. Both give tensors of the same dtypes and shapes, and may read tensors from outside, which get gradients. Variables cannot be
 * assigned inside.
 */
export function cond<const R extends readonly Tensor[]>(
  condition: Tensor,
  whenTrue: () => R,
  whenFalse: () => readonly Tensor[],
): Tensors<R> {
  const assigned = assignedSince("cond");
  const trace = (branch: () => readonly Tensor[]) => {
    const since = nodeIdMark();
    return closeBranch(branch(), since);
  };
  const [first, second] = [trace(whenTrue), trace(whenFalse)];
  assigned.check("Return its value from both branches and assign what comes out.");
  const attributes = { whenTrue: first.body, whenFalse: second.body };
  return condOp(condition, ...first.captured, ...second.captured, attributes) as readonly Tensor[] as Tensors<R>;
}

/** x·w or eˣ, which is captured by both. */
function condExample(make: ExampleMaker, sizes: readonly string[]) {
  const like = () => placeholder("float32", sizes.map(make.dim));
  const [x, weight, other] = [like(), like(), like()];
  const body = (captured: readonly Tensor[], output: Tensor): ScanBody => ({
    carry: [],
    elements: [],
    nextCarry: [],
    captured,
    outputs: [output, mul(output, output)],
  });
  const attributes: CondAttributes = {
    whenTrue: body([x, weight], mul(x, weight)),
    whenFalse: body([other], exp(other)),
  };
  return { inputs: [make.bool([]), make.float(sizes), make.float(sizes), make.float(sizes)], attributes };
}
