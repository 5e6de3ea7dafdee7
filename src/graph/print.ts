/** A graph as text: one line an operation, in the order of computation. */

import { formatShape, SymbolicDim } from "./dim.js";
import { type Graph, nodesOf } from "./graph.js";
import { elementCount, type HostArray, toNumbers } from "./host-array.js";
import { constantOp, constantValue, type Distribution, noiseOp } from "./leaves.js";
import { isScanBody, type ScanBody } from "./scan-body.js";
import { type Attributes, dependenciesOf, type Node, Tensor } from "./tensor.js";
import { Variable } from "./variable.js";

/** Constants with more elements than this are abbreviated. */
const SHOWN_ELEMENTS = 4;

/**
 * Inputs first, then operations, then results:
 *
 * ```
 * input x [batch, 4] float32
 * variable weight [3, 4] float32
 * %0 [batch, 3] float32 = matmul(x, weight, transposeB)  # layers.0
 * return y = %0
 * ```
 *
 * Values are numbered from 0 in the order of the lines, so equal graphs print equally.
 */
export function printGraph(target: Graph | Tensor | readonly Tensor[]): string {
  if (target instanceof Tensor) return printTensors([target]);
  return "outputs" in target ? new Printer().print(target.inputs, target.outputs) : printTensors(target);
}

function printTensors(tensors: readonly Tensor[]): string {
  const leaves = nodesOf(tensors).filter(({ op }) => op.leaf && op !== constantOp);
  return new Printer().print(
    new Map(leaves.map(({ outputs: [leaf], attributes }, i) => [String(attributes.name ?? `input${i}`), leaf as Tensor])),
    new Map(tensors.map((tensor, i) => [tensors.length === 1 ? "" : String(i), tensor])),
  );
}

class Printer {
  readonly #lines: string[] = [];
  readonly #names = new Map<Tensor, string>();
  readonly #taken = new Set<string>();
  #nextNumber = 0;

  print(inputs: ReadonlyMap<string, Tensor>, outputs: ReadonlyMap<string, Tensor>): string {
    for (const [name, tensor] of inputs) this.#input(name, tensor);
    const results = [...outputs.values()];
    this.#operations(nodesOf(results), results, "");
    for (const [name, tensor] of outputs)
      this.#lines.push(name ? `return ${name} = ${this.#name(tensor)}` : `return ${this.#name(tensor)}`);
    return this.#lines.join("\n");
  }

  #input(inputName: string, tensor: Tensor): void {
    const { op, attributes } = tensor.node;
    const own = tensor instanceof Variable ? tensor.path : (attributes.name as string | undefined);
    const name = this.#unused(own ?? inputName);
    this.#names.set(tensor, name);
    const drawn = op === noiseOp ? ` = ${formatDistribution(attributes.distribution as Distribution)}` : "";
    this.#lines.push(`${op.name} ${name} ${formatType(tensor)}${drawn}`);
  }

  #operations(nodes: readonly Node[], results: readonly Tensor[], indent: string): void {
    const read = new Set([...nodes.flatMap(dependenciesOf), ...results]);
    for (const node of nodes) {
      if (node.op.leaf) continue;
      const operands = node.inputs.map((tensor) => this.#name(tensor));
      const left = node.outputs.map((output) => (read.has(output) ? `${this.#number(output)} ${formatType(output)}` : "_"));
      const call = `${node.op.name}(${[...operands, ...formatAttributes(node.attributes)].join(", ")})`;
      this.#lines.push(`${indent}${left.join(", ")} = ${call}${node.scope ? `  # ${node.scope}` : ""}`);
      for (const value of Object.values(node.attributes)) if (isScanBody(value)) this.#body(value, `${indent}  `);
    }
  }

  #body({ carry, elements, captured, nextCarry, outputs }: ScanBody, indent: string): void {
    const declare = (kind: string, tensors: readonly Tensor[]) => {
      for (const tensor of tensors) this.#lines.push(`${indent}${kind} ${this.#number(tensor)} ${formatType(tensor)}`);
    };
    declare("carry", carry);
    declare("element", elements);
    declare("captured", captured);
    const results = [...nextCarry, ...outputs];
    this.#operations(nodesOf(results), results, indent);
    const list = (word: string, tensors: readonly Tensor[]) =>
      tensors.length ? [`${word} ${tensors.map((tensor) => this.#name(tensor)).join(", ")}`] : [];
    this.#lines.push(`${indent}${[...list("carry on", nextCarry), ...list("give", outputs)].join("; ")}`);
  }

  #number(tensor: Tensor): string {
    const name = `%${this.#nextNumber++}`;
    this.#names.set(tensor, name);
    return name;
  }

  #name(tensor: Tensor): string {
    const constant = constantValue(tensor);
    return constant ? formatConstant(constant) : (this.#names.get(tensor) ?? tensor.describe());
  }

  #unused(name: string): string {
    let unique = name;
    for (let i = 2; this.#taken.has(unique); i++) unique = `${name}#${i}`;
    this.#taken.add(unique);
    return unique;
  }
}

const formatType = ({ shape, dtype }: Tensor): string => `${formatShape(shape)} ${dtype}`;

const formatNumber = (value: number): string => String(Number(value.toPrecision(6)));

/** A scalar as its number; arrays with their type, the long ones cut short. */
function formatConstant(array: HostArray): string {
  const { dtype, shape, data } = array;
  if (shape.length === 0) return formatNumber(Number(toNumbers(array)[0]));
  const shown = toNumbers({ ...array, shape: [], data: data.slice(0, SHOWN_ELEMENTS) } as HostArray);
  const values = Array.from(shown, formatNumber);
  return `${dtype}${formatShape(shape)}(${[...values, ...(elementCount(shape) > SHOWN_ELEMENTS ? ["…"] : [])].join(", ")})`;
}

const formatDistribution = (distribution: Distribution): string =>
  distribution.kind === "bernoulli" ? `bernoulli(${formatNumber(distribution.probability)})` : distribution.kind;

/** Flags by their name when they are set; other attributes as `name=value`; functions and bodies not at all. */
function formatAttributes(attributes: Attributes): readonly string[] {
  return Object.entries(attributes).flatMap(([name, value]) => {
    if (value === true) return [name];
    const text = formatValue(value);
    return text === undefined ? [] : [`${name}=${text}`];
  });
}

function formatValue(value: unknown): string | undefined {
  if (typeof value === "number") return formatNumber(value);
  if (typeof value === "string" || value instanceof SymbolicDim) return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => formatValue(item) ?? "…").join(", ")}]`;
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype && !isScanBody(value))
    return `{${formatAttributes(value as Attributes).join(", ")}}`;
  return undefined;
}
