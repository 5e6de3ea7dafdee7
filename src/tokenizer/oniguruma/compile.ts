/** From a pattern's syntax tree to the instructions of the machine. */

import type { AlternativeElementNode, AlternativeNode, OnigurumaAst, QuantifierNode } from "oniguruma-parser/parser";
import type { CodeSet } from "./code-set.js";
import { type Flags, firstOf, lineEnds, setOf, widthOf, withDirectives, withFlags } from "./nodes.js";
import { assertion, op, type Program, unlimited } from "./program.js";

/** Beyond, counted groups in counted groups would fill the memory. */
const longestProgram = 1 << 18;
/** Lookarounds and atomic groups in each other, for each of which the machine calls itself. */
const deepestBlock = 200;
/** Alternatives that are compared with each other. */
const mostCompared = 64;

export interface Compiled {
  readonly program: Program;
  /** What a match begins with; undefined where it may be empty, or anything. */
  readonly first: CodeSet | undefined;
}

export function compile({ body, flags }: OnigurumaAst): Compiled {
  const compiler = new Compiler(hasBackreference(body));
  const outer: Flags = { ignoreCase: flags.ignoreCase, dotAll: flags.dotAll };
  compiler.alternatives(body, outer);
  compiler.emit(op.match);
  return { program: compiler.program(), first: firstOf(body, outer) };
}

const hasBackreference = (tree: unknown): boolean => JSON.stringify(tree, withoutParents).includes('"Backreference"');
const withoutParents = (key: string, value: unknown): unknown => (key === "parent" ? undefined : value);

class Compiler {
  private readonly code: number[] = [];
  private readonly sets: CodeSet[] = [];
  private readonly setNumbers = new Map<string, number>();
  private registers = 2; // of the whole match
  private depth = 0;
  private readonly groups = new Map<string, number[]>();

  constructor(private readonly keepsGroups: boolean) {}

  program(): Program {
    return { code: Int32Array.from(this.code), sets: this.sets, registers: this.registers };
  }

  emit(...words: readonly number[]): void {
    if (this.code.length + words.length > longestProgram)
      throw new Error("it becomes too long when its counted groups are written out");
    this.code.push(...words);
  }

  alternatives(written: readonly AlternativeNode[], flags: Flags): void {
    const body = withDirectives(written);
    const firsts = body.map((one) => firstOf([one], flags));
    const ends: number[] = [];
    body.forEach(({ body: elements }, i) => {
      const patches: number[] = [];
      if (i + 1 < body.length) {
        const first = firsts[i];
        if (first) {
          this.emit(op.skipUnless, this.set(first), 0);
          patches.push(this.code.length - 1);
        }
        // Where no later alternative can begin alike, there is nothing to come back for.
        const isOnly =
          body.length <= mostCompared &&
          first !== undefined &&
          firsts.slice(i + 1).every((other) => other?.intersection(first).isEmpty === true);
        if (!isOnly) {
          this.emit(op.split, 0);
          patches.push(this.code.length - 1);
        }
      }
      for (const element of elements) this.element(element, flags);
      if (i + 1 < body.length) {
        this.emit(op.jump, 0);
        ends.push(this.code.length - 1);
      }
      for (const patch of patches) this.code[patch] = this.code.length;
    });
    for (const end of ends) this.code[end] = this.code.length;
  }

  private element(node: AlternativeElementNode, flags: Flags): void {
    const set = setOf(node, flags);
    if (set) {
      const [[start, end] = [0, 0], ...others] = set.ranges;
      if (others.length === 0 && end === start + 1) this.emit(op.char, start);
      else this.emit(op.set, this.set(set));
      return;
    }
    switch (node.type) {
      case "Group":
        if (node.atomic) this.block([op.atomic], () => this.alternatives(node.body, withFlags(flags, node.flags)));
        else this.alternatives(node.body, withFlags(flags, node.flags));
        return;
      case "CapturingGroup":
        this.capturing(node.number, node.name, () => this.alternatives(node.body, flags));
        return;
      case "Quantifier":
        this.quantifier(node, flags);
        return;
      case "LookaroundAssertion": {
        const negated = node.negate ? 1 : 0;
        const inner = () => this.alternatives(node.body, flags);
        if (node.kind === "lookahead") this.block([op.ahead, negated], inner);
        else this.block([op.behind, negated, ...widthOf(node.body)], inner);
        return;
      }
      case "Assertion":
        this.assert(node.kind, node.negate === true);
        return;
      case "Backreference":
        this.back(node.ref, flags);
        return;
      case "Directive":
        this.emit(op.keep); // those of flags became groups
        return;
      case "CharacterSet":
        // \R: a carriage return and a line feed are one line end
        if (node.kind === "newline") {
          this.block([op.atomic], () => {
            this.emit(op.split, 0);
            const patch = this.code.length - 1;
            this.emit(op.char, 0x0d, op.char, 0x0a, op.jump, 0);
            this.code[patch] = this.code.length;
            this.emit(op.set, this.set(lineEnds));
            this.code[this.code.length - 3] = this.code.length;
          });
          return;
        }
    }
    throw new Error(`it has ${unknownName(node)}, which is not supported`);
  }

  private assert(kind: string, negated: boolean): void {
    const known = (assertions as Readonly<Record<string, number>>)[kind];
    if (known === undefined) throw new Error("it has a boundary of grapheme clusters (\\y or \\Y), which is not supported");
    this.emit(op.assert, known, negated ? 1 : 0);
  }

  private capturing(number: number, name: string | undefined, body: () => void): void {
    if (!this.keepsGroups) {
      body();
      return;
    }
    for (const key of [String(number), ...(name === undefined ? [] : [name])]) {
      const known = this.groups.get(key) ?? [];
      if (!known.includes(number)) this.groups.set(key, [...known, number]);
    }
    this.registers = Math.max(this.registers, 2 * number + 2);
    this.emit(op.mark, 2 * number);
    body();
    this.emit(op.mark, 2 * number + 1);
  }

  /** Of several groups with a name, the last one that matched. */
  private back(ref: string | number, { ignoreCase }: Flags): void {
    const groups = this.groups.get(String(ref));
    if (!groups) throw new Error(`it refers back to a group ${ref} that comes later`);
    const ends: number[] = [];
    [...groups].reverse().forEach((group, i) => {
      const isLast = i + 1 === groups.length;
      if (!isLast) this.emit(op.split, 0);
      const patch = this.code.length - 1;
      this.emit(op.back, group, ignoreCase ? 1 : 0);
      if (isLast) return;
      this.emit(op.jump, 0);
      ends.push(this.code.length - 1);
      this.code[patch] = this.code.length;
    });
    for (const end of ends) this.code[end] = this.code.length;
  }

  private quantifier({ kind, min, max: most, body }: QuantifierNode, flags: Flags): void {
    if (kind === "lazy" && min === most) {
      // `a{2}?` is `(?:a{2})?` to Oniguruma.
      const fixed: QuantifierNode = { type: "Quantifier", kind: "greedy", min, max: most, body };
      this.repeated(fixed, 0, 1, false, flags);
      return;
    }
    const max = most === null || most === Number.POSITIVE_INFINITY ? unlimited : most;
    const set = setOf(body, flags);
    if (set) {
      const repeat = kind === "lazy" ? op.repeatLazy : kind === "possessive" ? op.repeatPossessive : op.repeat;
      this.emit(repeat, this.set(set), min, max);
      return;
    }
    if (kind === "possessive") {
      this.block([op.atomic], () => this.repeated(body, min, max, false, flags));
      return;
    }
    this.repeated(body, min, max, kind === "lazy", flags);
  }

  private repeated(body: AlternativeElementNode, min: number, max: number, isLazy: boolean, flags: Flags): void {
    for (let i = 0; i < min; i++) this.element(body, flags);
    const split = isLazy ? op.splitLazy : op.split;
    const exits: number[] = [];
    if (max === unlimited) {
      const again = this.code.length;
      const register = this.registers++;
      this.emit(split, 0);
      exits.push(this.code.length - 1);
      this.emit(op.mark, register);
      this.element(body, flags);
      this.emit(op.exitIfEmpty, register, 0);
      exits.push(this.code.length - 1);
      this.emit(op.jump, again);
    } else {
      for (let i = min; i < max; i++) {
        this.emit(split, 0);
        exits.push(this.code.length - 1);
        this.element(body, flags);
      }
    }
    for (const exit of exits) this.code[exit] = this.code.length;
  }

  /** An instruction with the address behind its body, and the body up to `match`. */
  private block([instruction, ...operands]: readonly number[], body: () => void): void {
    this.emit(instruction as number, 0, ...operands);
    const patch = this.code.length - operands.length - 1;
    if (++this.depth > deepestBlock) throw new Error("it nests groups too deeply");
    body();
    this.depth--;
    this.emit(op.match);
    this.code[patch] = this.code.length;
  }

  private set(set: CodeSet): number {
    const known = this.setNumbers.get(set.key) ?? this.sets.push(set) - 1;
    this.setNumbers.set(set.key, known);
    return known;
  }
}

const assertions = {
  string_start: assertion.textStart,
  string_end: assertion.textEnd,
  string_end_newline: assertion.lastLineEnd,
  line_start: assertion.lineStart,
  line_end: assertion.lineEnd,
  word_boundary: assertion.word,
  search_start: assertion.searchStart,
} as const;

function unknownName(node: AlternativeElementNode): string {
  switch (node.type) {
    case "Subroutine":
      return "a subroutine (\\g<...>)";
    case "AbsenceFunction":
      return "an absence function (?~...)";
    case "NamedCallout":
      return "a callout (*...)";
    case "CharacterSet":
      return "a grapheme cluster (\\X)";
    default:
      return `a node ${node.type}`;
  }
}
