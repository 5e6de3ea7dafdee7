/**
 * `@huggingface/jinja` with types: the declarations that it ships import each other without file extensions, which TypeScript does not
 * follow in ES modules, so that all of it would be `any`. Only what is used here is declared.
 */

import * as library from "@huggingface/jinja";

/** A node of the syntax tree. */
export interface Statement {
  readonly type: string;
  /** Of blocks: what they enclose. */
  readonly body?: readonly Statement[];
  /** Of `if`: what stands behind `else`. */
  readonly alternate?: readonly Statement[];
  /** Of `for`: what stands behind `else`. */
  readonly defaultBlock?: readonly Statement[];
  /** Of a `call` block: the call. */
  readonly call?: { readonly callee: { readonly value?: unknown } };
  /** Of calls: what is called, and with what. */
  readonly callee?: Statement;
  readonly args?: readonly Statement[];
  /** Of `object.property`. */
  readonly object?: Statement;
  readonly property?: Statement;
  readonly computed?: boolean;
  /** Of names and literals. */
  readonly value?: unknown;
  /** Of `for`: a name, or several. */
  readonly loopvar?: { readonly value: string | readonly { readonly value: unknown }[] };
  /** Of operators. */
  readonly operator?: { readonly value: string };
  readonly left?: Statement;
  readonly right?: Statement;
  /** Of filters: what is filtered, and by which. */
  readonly operand?: Statement;
  readonly filter?: { readonly type: string; readonly value?: unknown };
}

export interface Program extends Statement {
  readonly body: readonly Statement[];
}

/** A value while a template runs. */
export type Value =
  | { readonly type: "StringValue"; readonly value: string }
  | { readonly type: "IntegerValue" | "FloatValue"; readonly value: number; toString(): string }
  | { readonly type: "BooleanValue"; readonly value: boolean }
  | { readonly type: "ArrayValue" | "TupleValue"; readonly value: readonly Value[] }
  | { readonly type: "ObjectValue" | "KeywordArgumentsValue" | "NamespaceValue"; readonly value: ReadonlyMap<string, Value> }
  | { readonly type: "NullValue" | "UndefinedValue" | "FunctionValue"; toString(): string };

/** The variables of a block, and those around it. */
export interface Scope {
  readonly variables: Map<string, Value>;
  /** Declares a variable from a plain value or a function on plain values, and returns it as a template's value. */
  set(name: string, value: unknown): Value;
}

interface TreeInterpreter {
  run(program: Program): Value;
  evaluate(statement: Statement | undefined, scope: Scope): Value;
}

export const Environment = library.Environment as unknown as new (parent?: Scope) => Scope;
export const Interpreter = library.Interpreter as unknown as new (scope: Scope) => TreeInterpreter;
export const tokenize = library.tokenize as unknown as (
  source: string,
  options: { readonly lstrip_blocks: boolean; readonly trim_blocks: boolean },
) => unknown;
export const parse = library.parse as unknown as (tokens: unknown) => Program;

const StringValue = new Environment().set("text", "").constructor as new (text: string) => Value; // a class that is not exported
export const textValue = (text: string): Value => new StringValue(text);
