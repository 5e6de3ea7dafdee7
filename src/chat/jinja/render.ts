/** Templates rendered piece by piece, as Python's Jinja does it, so that the place of every piece in the text is known. */

import { asCallBlocks, generationFunction } from "./generation-tags.js";
import {
  Environment,
  Interpreter,
  type Program,
  parse,
  type Scope,
  type Statement,
  textValue,
  tokenize,
  type Value,
} from "./library.js";
import { pythonStrip, pythonStripped, pythonText, pythonType, type StripMethod } from "./python-text.js";

/** A range of the text [UTF-16 units], the end excluded. */
export type Span = readonly [start: number, end: number];

export interface CompiledTemplate {
  readonly program: Program;
  /** Statements that print: straight to the text, or into what a macro, a filter or an assignment encloses. */
  readonly prints: ReadonlyMap<Statement, "to the text" | "enclosed">;
  /** The first statement in the body of each loop, and its loop. */
  readonly loopStarts: ReadonlyMap<Statement, Statement>;
  /** `{% generation %}` blocks whose place in the text can be told: all of them, or none. */
  readonly marksGeneration: boolean;
}

const isGeneration = ({ type, call }: Statement): boolean =>
  type === "CallStatement" && call?.callee.value === generationFunction;
const isSilent = ({ type }: Statement): boolean => ["Set", "Macro", "Comment", "Break", "Continue"].includes(type);
const isFlow = (statement: Statement): boolean => statement.type === "If" || statement.type === "For" || isGeneration(statement);
const blocksOf = ({ body, alternate, defaultBlock }: Statement): Statement[] =>
  [body, alternate, defaultBlock].flatMap((block) => block ?? []);

/** @throws SyntaxError where `source` is not a template */
export function compileTemplate(source: string): CompiledTemplate {
  const program = parse(tokenize(asCallBlocks(source), { lstrip_blocks: true, trim_blocks: true }));
  const prints = new Map<Statement, "to the text" | "enclosed">();
  const loopStarts = new Map<Statement, Statement>();
  let generations = 0;
  let nestedGenerations = 0;
  const walk = (statements: readonly Statement[], inFlow: boolean): void => {
    for (const statement of statements) {
      prints.set(statement, inFlow ? "to the text" : "enclosed");
      if (isGeneration(statement)) {
        generations++;
        if (!inFlow) nestedGenerations++;
      }
      if (statement.type === "For" && statement.body?.[0]) loopStarts.set(statement.body[0], statement);
      walk(blocksOf(statement), inFlow && isFlow(statement));
    }
  };
  walk(program.body, true);
  return { program, prints, loopStarts, marksGeneration: generations > 0 && nestedGenerations === 0 };
}

export interface Rendering {
  readonly text: string;
  /** What stood inside of `{% generation %}` blocks. */
  readonly generated: readonly Span[];
}

/**
 * @param variables what the template sees, besides Jinja's own constants; functions are called with plain values
 * @throws what the template or the interpreter throws
 */
export function renderTemplate(template: CompiledTemplate, variables: Readonly<Record<string, unknown>>): Rendering {
  const scope = new Environment();
  for (const [name, value] of Object.entries({ ...constants, ...variables })) scope.set(name, value);
  const interpreter = new WritingInterpreter(template, scope);
  interpreter.run(template.program);
  return { text: interpreter.text, generated: interpreter.generated };
}

const isStripMethod = (name: unknown): name is StripMethod => name === "strip" || name === "lstrip" || name === "rstrip";

const constants = { true: true, false: false, none: null, True: true, False: false, None: null };

/**
 * The library's interpreter returns the text of a block when the block is through. This one also writes each piece of it to `text` as
 * soon as it is there, like the generator that Jinja compiles a template to in Python; and where the library takes what Python refuses,
 * or the other way round, it does as Python.
 */
class WritingInterpreter extends Interpreter {
  readonly generated: Span[] = [];
  readonly #template: CompiledTemplate;
  readonly #nothing = textValue("");
  #text = "";

  constructor(template: CompiledTemplate, scope: Scope) {
    super(scope);
    this.#template = template;
  }

  get text(): string {
    return this.#text;
  }

  override evaluate(statement: Statement | undefined, scope: Scope): Value {
    if (statement === undefined) return super.evaluate(statement, scope);
    const loop = this.#template.loopStarts.get(statement);
    if (loop) forgetLastRound(loop, scope);
    const printed = this.#template.prints.get(statement);
    if (isGeneration(statement)) return this.#generation(statement, printed === "to the text", scope);
    if (isFlow(statement) || isSilent(statement)) return super.evaluate(statement, scope);
    const value = this.#asInPython(statement, scope) ?? super.evaluate(statement, scope);
    if (printed === undefined) return value;
    const text = pythonText(value);
    if (printed === "enclosed") return textValue(text);
    this.#text += text;
    return this.#nothing;
  }

  /** Operators and filters that the library evaluates differently; undefined where it does not. */
  #asInPython(statement: Statement, scope: Scope): Value | undefined {
    const { type, operator, left, right, operand, filter } = statement;
    if (type === "CallExpression") return this.#stripped(statement, scope);
    if (type === "BinaryExpression" && (operator?.value === "+" || operator?.value === "~")) {
      const [first, second] = [this.evaluate(left, scope), this.evaluate(right, scope)];
      if (operator.value === "~") return textValue(pythonText(first) + pythonText(second));
      if (first.type === "StringValue" && second.type === "StringValue") return textValue(first.value + second.value);
      const someUndefined = first.type === "UndefinedValue" || second.type === "UndefinedValue"; // the library's own error says it
      if ((first.type === "StringValue" || second.type === "StringValue") && !someUndefined)
        throw new TypeError(`a ${pythonType(first)} and a ${pythonType(second)} cannot be added`);
    }
    if (type === "FilterExpression" && filter?.type === "Identifier" && (filter.value === "string" || filter.value === "trim")) {
      const text = pythonText(this.evaluate(operand, scope));
      return textValue(filter.value === "trim" ? pythonStrip(text) : text);
    }
    return undefined;
  }

  /** `text.strip(characters)` and its relatives; the library strips white space, and JavaScript's, whatever it is given. */
  #stripped({ callee, args = [] }: Statement, scope: Scope): Value | undefined {
    const { object, property, computed } = callee ?? {};
    const method = property?.value;
    if (callee?.type !== "MemberExpression" || computed || !isStripMethod(method) || args.length > 1) return undefined;
    const text = this.evaluate(object, scope);
    if (text.type !== "StringValue") return undefined;
    const given = args[0] && this.evaluate(args[0], scope);
    if (given && given.type !== "StringValue" && given.type !== "NullValue") return undefined;
    return textValue(pythonStripped(text.value, method, given?.type === "StringValue" ? given.value : undefined));
  }

  #generation({ body = [] }: Statement, toTheText: boolean, around: Scope): Value {
    const scope = new Environment(around); // what is set inside is not seen outside, as in any call block
    const start = this.#text.length;
    const enclosed = body.map((child) => [child, this.evaluate(child, scope)] as const);
    if (!toTheText) return textValue(enclosed.map(([child, value]) => (isSilent(child) ? "" : pythonText(value))).join(""));
    this.generated.push([start, this.#text.length]);
    return this.#nothing;
  }
}

/** In Jinja each round of a loop has variables of its own; the library would carry them on to the next. */
function forgetLastRound({ loopvar }: Statement, { variables }: Scope): void {
  const names = typeof loopvar?.value === "string" ? [loopvar.value] : (loopvar?.value ?? []).map(({ value }) => value);
  for (const name of variables.keys())
    if (name !== "loop" && name !== "namespace" && !names.includes(name)) variables.delete(name);
}
