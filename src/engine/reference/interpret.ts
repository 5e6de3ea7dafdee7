/**
 * The reference engine's core: a graph interpreted node by node in float64, with each operator's own definition. It says
 * what a graph means; other engines are compared with it.
 */

import { ShapeError, TsumikiError } from "../../errors.js";
import { type Atom, formatShape, type Shape } from "../../graph/dim.js";
import { type DType, encode, isFloat, roundTo } from "../../graph/dtype.js";
import { countUses, type Graph, nodesOf } from "../../graph/graph.js";
import { elementCount, type HostArray, hostArray, toNumbers } from "../../graph/host-array.js";
import { constantValue } from "../../graph/leaves.js";
import type { ReferenceArray, ReferenceContext } from "../../graph/op.js";
import { checkRequirements } from "../../graph/size-requirement.js";
import { dependenciesOf, type Node, type Tensor } from "../../graph/tensor.js";
import { bindAttributes, bindInputs, bindKnown, matchShape, unboundError } from "./bind.js";

export interface EvaluateOptions {
  /**
   * Keep float64 everywhere instead of rounding each result to its dtype, e.g. for finite differences. Float results then
   * are float64, and float inputs may be.
   */
  readonly exact?: boolean;
  /** Names of the outputs to compute. Default: all. */
  readonly outputs?: Iterable<string>;
}

/** Computes the outputs of a graph from values for its inputs. Inputs that the outputs do not need may be left out. */
export function evaluate(
  graph: Graph,
  inputs: ReadonlyMap<string, HostArray>,
  options: EvaluateOptions = {},
): ReadonlyMap<string, HostArray> {
  const exact = options.exact ?? false;
  const given = new Map<Tensor, ReferenceArray>();
  const shapes = new Map<string, { readonly declared: Shape; readonly given: readonly number[] }>();
  for (const [name, array] of inputs) {
    const tensor = graph.inputs.get(name);
    if (!tensor)
      throw new TsumikiError(
        "FEED",
        `The graph has no input called '${name}'. Its inputs: ${[...graph.inputs.keys()].join(", ") || "none"}.`,
      );
    checkInput(name, tensor, array, exact);
    shapes.set(name, { declared: tensor.shape, given: array.shape });
    given.set(tensor, { shape: array.shape, data: toNumbers(array) });
  }
  const wanted = [...(options.outputs ?? graph.outputs.keys())].map((name): [string, Tensor] => {
    const tensor = graph.outputs.get(name);
    if (!tensor)
      throw new TsumikiError(
        "FEED",
        `The graph has no output called '${name}'. Its outputs: ${[...graph.outputs.keys()].join(", ")}.`,
      );
    return [name, tensor];
  });
  const names = new Map([...graph.inputs].map(([name, tensor]) => [tensor, name]));
  const results = new Interpreter(bindInputs(shapes), exact, names).run(
    wanted.map(([, tensor]) => tensor),
    given,
  );
  return new Map(
    wanted.map(([name, tensor], i) => [name, toHostArray(results[i] as ReferenceArray, exactDType(tensor.dtype, exact))]),
  );
}

const exactDType = (dtype: DType, exact: boolean): DType => (exact && isFloat(dtype) ? "float64" : dtype);

const toHostArray = ({ shape, data }: ReferenceArray, dtype: DType): HostArray => hostArray(dtype, shape, encode(dtype, data));

function checkInput(name: string, tensor: Tensor, array: HostArray, exact: boolean): void {
  if (array.dtype !== tensor.dtype && array.dtype !== exactDType(tensor.dtype, exact))
    throw new TsumikiError("FEED", `The input '${name}' is ${tensor.dtype}, but ${array.dtype} was given.`);
  if (array.data.length !== elementCount(array.shape))
    throw new ShapeError(`The input '${name}' says shape ${formatShape(array.shape)}, but holds ${array.data.length} elements.`);
}

class Interpreter {
  readonly #bindings: Map<Atom, number>;
  readonly #exact: boolean;
  readonly #inputNames: ReadonlyMap<Tensor, string>;

  constructor(bindings: Map<Atom, number>, exact: boolean, inputNames: ReadonlyMap<Tensor, string>) {
    this.#bindings = bindings;
    this.#exact = exact;
    this.#inputNames = inputNames;
  }

  run(outputs: readonly Tensor[], given: ReadonlyMap<Tensor, ReferenceArray>): readonly ReferenceArray[] {
    const nodes = nodesOf(outputs);
    const pendingUses = new Map(countUses(nodes, outputs));
    const values = new Map<Tensor, ReferenceArray>();
    for (const node of nodes) {
      const results = node.op.leaf
        ? [this.#leaf(node, given)]
        : this.#apply(
            node,
            node.inputs.map((tensor) => values.get(tensor) as ReferenceArray),
          );
      for (const [i, tensor] of node.outputs.entries())
        if (pendingUses.has(tensor)) values.set(tensor, results[i] as ReferenceArray);
      for (const tensor of dependenciesOf(node)) {
        const left = (pendingUses.get(tensor) as number) - 1;
        pendingUses.set(tensor, left);
        if (left === 0) values.delete(tensor);
      }
    }
    return outputs.map((tensor) => values.get(tensor) as ReferenceArray);
  }

  #leaf(node: Node, given: ReadonlyMap<Tensor, ReferenceArray>): ReferenceArray {
    const tensor = node.outputs[0] as Tensor;
    const value = given.get(tensor);
    if (value) return value;
    const constant = constantValue(tensor);
    if (constant) return { shape: constant.shape, data: toNumbers(constant) };
    const name = this.#inputNames.get(tensor);
    throw new TsumikiError(
      "FEED",
      name === undefined
        ? `${tensor.describe()} is used by the graph but is not one of its inputs.`
        : `The input '${name}' (${tensor.dtype}${formatShape(tensor.shape)}) was not given.`,
    );
  }

  #apply(node: Node, inputs: readonly ReferenceArray[]): readonly ReferenceArray[] {
    const { op, outputs } = node;
    let results: readonly ReferenceArray[];
    try {
      const attributes = bindAttributes(node.attributes, this.#bindings);
      checkRequirements(op.requires(inputs, attributes));
      results = op.reference(inputs, attributes, this.#context(node, inputs));
      if (results.length !== outputs.length)
        throw new TsumikiError("ENGINE", `gave ${results.length} results, but has ${outputs.length} outputs`);
      for (const [i, tensor] of outputs.entries()) {
        const { shape, data } = results[i] as ReferenceArray;
        matchShape(tensor.shape, shape, this.#bindings, () => `output ${i}`);
        if (data.length !== elementCount(shape))
          throw new ShapeError(`output ${i} has the shape ${formatShape(shape)}, but ${data.length} elements`);
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const operands = node.inputs.map((tensor, i) => `${tensor.dtype}${formatShape(inputs[i]?.shape ?? [])}`).join(", ");
      throw new TsumikiError(
        error instanceof TsumikiError ? error.code : "ENGINE",
        `${op.name}: ${reason}\n  operands: ${operands || "none"}${node.scope ? `\n  in module: ${node.scope}` : ""}`,
        { cause: error },
      );
    }
    return results.map((result, i) => this.#round((outputs[i] as Tensor).dtype, result));
  }

  #context(node: Node, inputs: readonly ReferenceArray[]): ReferenceContext {
    const bindings = this.#bindings;
    return {
      inputs: node.inputs.map((tensor, i) => ({ dtype: tensor.dtype, shape: (inputs[i] as ReferenceArray).shape })),
      outputs: node.outputs.map((tensor, i) => ({
        dtype: tensor.dtype,
        get shape() {
          const shape = bindKnown(tensor.shape, bindings);
          if (!shape) throw unboundError(`output ${i}`, tensor.shape);
          return shape;
        },
      })),
      // Sizes that a body finds out are its own: they may differ from step to step.
      evaluate: (outputs, given) => new Interpreter(new Map(bindings), this.#exact, this.#inputNames).run(outputs, given),
    };
  }

  /** Copies only when something changes; operators such as `reshape` give back the data that they were given. */
  #round(dtype: DType, { shape, data }: ReferenceArray): ReferenceArray {
    if (dtype === "float64" || (this.#exact && isFloat(dtype))) return { shape, data };
    const unchanged = data.every((value) => Object.is(roundTo(dtype, value), value));
    return unchanged ? { shape, data } : { shape, data: data.map((value) => roundTo(dtype, value)) };
  }
}
