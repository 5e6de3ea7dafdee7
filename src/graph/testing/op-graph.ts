/** An example of an operator as a graph that any engine can run, forward and backward. */

import { asAtom, type Dim, isStaticShape } from "../dim.js";
import { allocate, type DType, isFloat } from "../dtype.js";
import { vectorJacobian } from "../gradient.js";
import type { Graph } from "../graph.js";
import { elementCount, fromNumbers, type HostArray } from "../host-array.js";
import { input } from "../leaves.js";
import { applyOp } from "../op.js";
import { namedRandom } from "../random.js";
import type { Tensor } from "../tensor.js";
import { concreteDims, concreteExample, drawOperand, exampleAt, type OpCase, operandShape, symbols } from "./cases.js";

export interface GraphOptions {
  /** Letters stay symbols: one graph for all cases of the example. Default false. */
  readonly symbolic?: boolean;
  /** Takes the place of float32 in the operands. */
  readonly float?: DType;
}

/** Operands are the inputs `x0`, `x1`, ...; results are the outputs `y0`, `y1`, ... */
export function forwardGraph(testCase: OpCase, { symbolic = false, float = "float32" }: GraphOptions = {}): Graph {
  const dims: (letter: string) => Dim = symbolic ? symbols() : concreteDims(testCase);
  const { definition, index, sizes } = testCase;
  const example = exampleAt(definition, index, dims);
  const operands = example.inputs.map((operand, i) =>
    input(`x${i}`, operand.dtype === "float32" ? float : operand.dtype, operandShape(operand, dims)),
  );
  const inputs = new Map(operands.map((tensor, i): [string, Tensor] => [`x${i}`, tensor]));
  // A size that only attributes speak of must come from somewhere when the graph runs.
  if (symbolic)
    for (const letter of sizes.keys()) {
      const atom = asAtom(dims(letter));
      if (!operands.some(({ shape }) => shape.some((dim) => asAtom(dim) === atom)))
        inputs.set(`size:${letter}`, input(`size:${letter}`, "float32", [dims(letter)]));
    }
  const outputs = applyOp(definition, operands, example.attributes ?? {});
  return { inputs, outputs: new Map(outputs.map((tensor, i) => [`y${i}`, tensor])) };
}

/** Operands through which gradients are taken. */
export const differentiableInputs = (testCase: OpCase): readonly string[] =>
  testCase.definition.vjp === "nonDifferentiable"
    ? []
    : concreteExample(testCase).inputs.flatMap(({ dtype, differentiable }, i) =>
        differentiable && isFloat(dtype) ? [`x${i}`] : [],
      );

export interface Differentiated {
  /** With the outputs of the original and the gradients. */
  readonly graph: Graph;
  /** Names of new inputs: one seed for each float output that was differentiated, `seed:y0`. */
  readonly seeds: readonly string[];
  /** Names of new outputs: one gradient for each input, `grad:x0`. */
  readonly gradients: readonly string[];
}

/**
 * A graph with the gradients of its outputs (the float ones among `of`, weighted by seeds) with respect to some inputs.
 * The result can be differentiated again.
 */
export function differentiate(
  graph: Graph,
  wrt: readonly string[],
  of: readonly string[] = [...graph.outputs.keys()],
): Differentiated {
  const outputs = of.filter((name) => isFloat((graph.outputs.get(name) as Tensor).dtype));
  const results = outputs.map((name) => graph.outputs.get(name) as Tensor);
  const seeds = results.map(({ dtype, shape }, i) => input(`seed:${outputs[i]}`, dtype, shape));
  const targets = wrt.map((name) => graph.inputs.get(name) as Tensor);
  const gradients = vectorJacobian(results, seeds, targets);
  const seedNames = outputs.map((name) => `seed:${name}`);
  const gradientNames = wrt.map((name) => unusedName(`grad:${name}`, graph));
  return {
    graph: {
      inputs: new Map([...graph.inputs, ...seedNames.map((name, i): [string, Tensor] => [name, seeds[i] as Tensor])]),
      outputs: new Map([...graph.outputs, ...gradientNames.map((name, i): [string, Tensor] => [name, gradients[i] as Tensor])]),
    },
    seeds: seedNames,
    gradients: gradientNames,
  };
}

const unusedName = (name: string, graph: Graph): string => (graph.outputs.has(name) ? unusedName(`grad:${name}`, graph) : name);

/** Forward and backward outputs of an example as one graph; only forward where there is no gradient. */
export function gradientGraph(testCase: OpCase, options: GraphOptions = {}): Graph {
  const forward = forwardGraph(testCase, options);
  const wrt = differentiableInputs(testCase);
  return wrt.length === 0 ? forward : differentiate(forward, wrt).graph;
}

/**
 * Data for every input of a graph made from the case: operands as the example wants them, seeds uniform in [-1, 1). The
 * graph must be the static one; its data fits the symbolic one too, up to the `size:` inputs (see `sizeInputs`).
 */
export function drawInputs(testCase: OpCase, graph: Graph): ReadonlyMap<string, HostArray> {
  const example = concreteExample(testCase);
  const data = new Map<string, HostArray>();
  for (const [i, operand] of example.inputs.entries())
    data.set(`x${i}`, drawOperand(operand, testCase.sizes, `${testCase.label} x${i}`));
  for (const [name, { shape, dtype }] of graph.inputs) {
    if (data.has(name)) continue;
    if (!isStaticShape(shape)) throw new Error(`${testCase.label}: the input ${name} has a symbolic shape.`);
    const random = namedRandom(20_22, `${testCase.label} ${name}`);
    data.set(
      name,
      fromNumbers(
        dtype,
        shape,
        Array.from({ length: elementCount(shape) }, () => 2 * random.uniform() - 1),
      ),
    );
  }
  return data;
}

/** What a symbolic graph needs besides: inputs whose only purpose is to carry a size. */
export function sizeInputs(testCase: OpCase, graph: Graph): ReadonlyMap<string, HostArray> {
  return new Map(
    [...graph.inputs.keys()]
      .filter((name) => name.startsWith("size:"))
      .map((name) => {
        const size = testCase.sizes.get(name.slice("size:".length)) as number;
        return [name, { dtype: "float32", shape: [size], data: allocate("float32", size) }];
      }),
  );
}
