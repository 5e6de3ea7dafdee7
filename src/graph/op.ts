/**
 * Operators: everything that one means stands in one definition — its shape, its gradient, its ONNX form, its float64
 * meaning — and examples from which its tests are generated.
 */

import { ArgumentError, DTypeError, ShapeError, TsumikiError } from "../errors.js";
import type { Dim, Shape } from "./dim.js";
import { type DType, isFloat, isInteger } from "./dtype.js";
import type { ExampleMaker, OpExample } from "./example.js";
import type { OnnxBuilder, OnnxValue } from "./onnx-face.js";
import { checkRequirements, type SizeRequirement } from "./size-requirement.js";
import { type Attributes, makeNode, type OutputType, Tensor } from "./tensor.js";
import { currentScope } from "./trace.js";

/** float64 data with concrete sizes: what the reference face of an operator computes with. Booleans are 0 and 1. */
export interface ReferenceArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Attributes in which every dimension has become a number. */
export type Bound<T> = T extends Dim
  ? number
  : T extends readonly (infer U)[]
    ? readonly Bound<U>[]
    : T extends object
      ? { [K in keyof T]: Bound<T[K]> }
      : T;

export interface VjpContext<A> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** One for each output, of its shape; zeros where nothing flows back. */
  readonly gradients: readonly Tensor[];
  readonly attributes: A;
}

export interface OnnxContext<A> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attributes: A;
  /** Whether anything reads this output of the node. */
  used(index: number): boolean;
}

export interface ReferenceContext {
  readonly inputs: readonly { readonly dtype: DType; readonly shape: readonly number[] }[];
  readonly outputs: readonly { readonly dtype: DType; readonly shape: readonly number[] }[];
  /** Runs a body (of a `scan`) with values for its placeholders; rounds as the engine does outside of it. */
  evaluate(outputs: readonly Tensor[], given: ReadonlyMap<Tensor, ReferenceArray>): readonly ReferenceArray[];
}

/** How an engine is told of a node. The standard face is in the operator; an engine may prefer another (a lowering). */
export type OnnxFace<A> = (
  node: OnnxBuilder,
  inputs: readonly OnnxValue[],
  context: OnnxContext<A>,
) => OnnxValue | readonly OnnxValue[];

/** Tuples, so that definitions can name their operands: `([x, weight]) => ...`. */
type Operands<T> = readonly [T, T, T, T, T, T, T, T];

/** What passes and plans may rely on, whatever an operator computes. */
export interface OpTraits {
  /** An element of the result is made of the elements at its place in the operands, which broadcast. */
  readonly elementwise?: true;
  /** Besides: the result is off by no more than a few times what the operands are, so that narrow floats lose little. */
  readonly gentle?: true;
  /**
   * Every element of the result is one of the operands': rounding before is rounding after. They may stay where they lie in memory
   * (`view`), all come to other places (`whole`), or some of them (`part`).
   */
  readonly moves?: "view" | "whole" | "part";
  /** Nothing is left of it in a model: the results are the first operands. */
  readonly alias?: true;
  /** Constants that leave the other operand as it is: as the left one, as the right one. */
  readonly neutral?: { readonly left?: number; readonly right: number };
}

interface OpFaces<A> {
  /** Unique, camelCase, as the exported function is called. */
  readonly name: string;
  /** How many tensors the operator takes; a list when some may be left out; omitted when any number is fine. */
  readonly arity?: number | readonly number[];
  /** Element types that the tensors may have; all must have the same one unless `mixed`. Default: any, the same. */
  readonly accepts?: "float" | "integer" | "number" | "bool" | "any" | "mixed";
  readonly traits?: OpTraits;
  /** Element types of the outputs. Default: that of the first input. */
  dtype?(inputs: Operands<Tensor>, attributes: A): DType | readonly DType[];
  /**
   * What must hold of sizes. What is certainly wrong is an error while the graph is made, what depends on symbolic sizes when they are
   * bound. That no result has a negative size needs no saying.
   */
  requires?(inputs: Operands<{ readonly shape: Shape }>, attributes: A): readonly SizeRequirement[];
  /** Gradient for each input, in operators; `undefined` where none flows. */
  readonly vjp:
    | "nonDifferentiable"
    | ((context: {
        readonly inputs: Operands<Tensor>;
        readonly outputs: Operands<Tensor>;
        readonly gradients: Operands<Tensor>;
        readonly attributes: A;
      }) => readonly (Tensor | undefined)[]);
  /** Standard ONNX (opset 20), which every engine runs. */
  onnx(node: OnnxBuilder, inputs: Operands<OnnxValue>, context: OnnxContext<A>): OnnxValue | readonly OnnxValue[];
  /** The definition, in float64. Results are rounded to the output's dtype by the engine. */
  reference(
    inputs: Operands<ReferenceArray>,
    attributes: Bound<A>,
    context: ReferenceContext,
  ): ReferenceArray | readonly ReferenceArray[];
  /** What the generated tests try: typical operands and the corner cases (broadcast, size 1, every attribute). */
  examples(make: ExampleMaker): readonly OpExample<A>[];
}

export interface SingleOutputSpec<A> extends OpFaces<A> {
  shape(inputs: Operands<Tensor>, attributes: A): Shape;
}

export interface MultipleOutputSpec<A> extends OpFaces<A> {
  readonly outputs: number | ((attributes: A) => number);
  shape(inputs: Operands<Tensor>, attributes: A): readonly Shape[];
}

/** An operator as the graph, the engines and the tests see it, whatever its attributes. */
export interface OpDefinition {
  readonly name: string;
  /** Leaves (feeds, variables, noise, constants) take no inputs and are given, not computed. */
  readonly leaf: boolean;
  readonly traits: OpTraits;
  outputTypes(inputs: readonly Tensor[], attributes: Attributes): readonly OutputType[];
  requires(inputs: readonly { readonly shape: Shape }[], attributes: Attributes): readonly SizeRequirement[];
  readonly vjp: "nonDifferentiable" | ((context: VjpContext<Attributes>) => readonly (Tensor | undefined)[]);
  readonly onnx: OnnxFace<Attributes>;
  reference(inputs: readonly ReferenceArray[], attributes: Attributes, context: ReferenceContext): readonly ReferenceArray[];
  examples(make: ExampleMaker): readonly OpExample<Attributes>[];
}

/** Called as `op(x, y, { attribute })`; the attributes come last, and only where the operator has any. */
export type OpFunction<A, R> = ((...args: NoAttributes extends A ? readonly Tensor[] : readonly [...Tensor[], A]) => R) & {
  readonly definition: OpDefinition;
};

export type NoAttributes = Record<never, never>;

const registry = new Map<string, OpDefinition>();

/** Every operator that has been defined, in order of definition. */
export const operators = (): readonly OpDefinition[] => [...registry.values()];

export function operator(name: string): OpDefinition {
  const definition = registry.get(name);
  if (!definition) throw new ArgumentError(`No operator is called '${name}'. Known: ${[...registry.keys()].join(", ")}.`);
  return definition;
}

export function defineOp<A extends object = NoAttributes>(spec: MultipleOutputSpec<A>): OpFunction<A, readonly Tensor[]>;
export function defineOp<A extends object = NoAttributes>(spec: SingleOutputSpec<A>): OpFunction<A, Tensor>;
export function defineOp<A extends object>(
  spec: SingleOutputSpec<A> | MultipleOutputSpec<A>,
): OpFunction<A, Tensor | readonly Tensor[]> {
  for (const face of ["shape", "vjp", "onnx", "reference", "examples"] as const)
    if (spec[face] === undefined)
      throw new ArgumentError(`The operator '${spec.name}' has no \`${face}\`: an operator needs all of its faces.`);
  if (registry.has(spec.name)) throw new ArgumentError(`An operator called '${spec.name}' is already defined.`);

  const single = !("outputs" in spec);
  const definition: OpDefinition = {
    name: spec.name,
    leaf: false,
    traits: spec.traits ?? {},
    outputTypes(inputs, attributes) {
      checkOperands(spec, inputs);
      const operands = inputs as unknown as Operands<Tensor>;
      const shapes = single
        ? [(spec as SingleOutputSpec<A>).shape(operands, attributes as A)]
        : (spec as MultipleOutputSpec<A>).shape(operands, attributes as A);
      checkRequirements(definition.requires(inputs, attributes));
      const given = spec.dtype?.(operands, attributes as A) ?? inputs[0]?.dtype;
      if (given === undefined) throw new DTypeError(`an operator without inputs must say its \`dtype\``);
      return shapes.map((shape, i) => ({ shape, dtype: typeof given === "string" ? given : (given[i] as DType) }));
    },
    requires: (inputs, attributes) =>
      spec.requires?.(inputs as unknown as Operands<{ readonly shape: Shape }>, attributes as A) ?? [],
    vjp: spec.vjp as OpDefinition["vjp"],
    onnx: spec.onnx as unknown as OnnxFace<Attributes>,
    reference(inputs, attributes, context) {
      const result = spec.reference(inputs as unknown as Operands<ReferenceArray>, attributes as unknown as Bound<A>, context);
      return Array.isArray(result) ? result : [result as ReferenceArray];
    },
    examples: spec.examples as unknown as OpDefinition["examples"],
  };
  registry.set(spec.name, definition);

  const call = (...args: readonly unknown[]): Tensor | readonly Tensor[] => {
    const last = args.at(-1);
    const hasAttributes = args.length > 0 && !(last instanceof Tensor);
    const outputs = applyOp(
      definition,
      (hasAttributes ? args.slice(0, -1) : args) as Tensor[],
      (hasAttributes ? last : {}) as Attributes,
    );
    return single ? (outputs[0] as Tensor) : outputs;
  };
  return Object.assign(call, { definition }) as OpFunction<A, Tensor | readonly Tensor[]>;
}

/** Records one application of an operator after checking it; an error names the operator, its operands and the module. */
export function applyOp(definition: OpDefinition, inputs: readonly Tensor[], attributes: Attributes): readonly Tensor[] {
  for (const [i, input] of inputs.entries())
    if (!(input instanceof Tensor))
      throw new TsumikiError("TRACE", `${definition.name}: operand ${i} is not a tensor but ${describeValue(input)}.`);
  let types: readonly OutputType[];
  try {
    types = definition.outputTypes(inputs, attributes);
  } catch (error) {
    throw error instanceof TsumikiError ? withContext(error, definition, inputs) : error;
  }
  return makeNode(definition, inputs, attributes, types, currentScope()).outputs;
}

function checkOperands(spec: Pick<OpFaces<never>, "arity" | "accepts">, inputs: readonly Tensor[]): void {
  const { arity, accepts = "any" } = spec;
  if (arity !== undefined && ![arity].flat().includes(inputs.length))
    throw new ArgumentError(`takes ${[arity].flat().join(" or ")} tensors, but ${inputs.length} were given`);
  if (accepts === "mixed") return;
  const [first] = inputs;
  for (const input of inputs) {
    if (first && input.dtype !== first.dtype)
      throw new DTypeError(
        `takes tensors of one dtype, but ${first.dtype} and ${input.dtype} were given; use \`cast\` on one of them`,
      );
    if (!fits[accepts](input.dtype))
      throw new DTypeError(`takes ${accepts === "bool" ? "bool" : `${accepts}s`}, but ${input.dtype} was given; use \`cast\``);
  }
}

const fits: Readonly<Record<Exclude<NonNullable<OpFaces<never>["accepts"]>, "mixed">, (dtype: DType) => boolean>> = {
  any: () => true,
  float: isFloat,
  integer: isInteger,
  number: (dtype) => dtype !== "bool",
  bool: (dtype) => dtype === "bool",
};

const describeValue = (value: unknown): string =>
  value === null || typeof value !== "object" ? String(value) : `a ${value.constructor?.name ?? "plain"} object`;

function withContext(error: TsumikiError, definition: OpDefinition, inputs: readonly Tensor[]): TsumikiError {
  const scope = currentScope();
  const message = `${definition.name}: ${error.message}\n  operands: ${inputs.map((input) => input.describe()).join(", ") || "none"}${scope ? `\n  in module: ${scope}` : ""}`;
  if (error instanceof ShapeError) return new ShapeError(message, { cause: error });
  if (error instanceof DTypeError) return new DTypeError(message, { cause: error });
  return new TsumikiError(error.code, message, { cause: error });
}

/** The definition of a leaf: a value that is given (a feed, a variable, noise) or written into the graph (a constant). */
export function leafOp(name: string): OpDefinition {
  const never = (face: string) => (): never => {
    throw new TsumikiError("ENGINE", `'${name}' is a leaf of the graph and has no ${face} face.`);
  };
  return {
    name,
    leaf: true,
    traits: {},
    outputTypes: never("shape"),
    requires: () => [],
    vjp: "nonDifferentiable",
    onnx: never("onnx"),
    reference: never("reference"),
    examples: () => [],
  };
}
