/** What can be said of parts of a pattern: the characters that they stand for, what they begin with, how long they are. */

import type {
  AlternativeElementNode,
  AlternativeNode,
  CharacterClassElementNode,
  CharacterSetNode,
} from "oniguruma-parser/parser";
import { casesOf, withOtherCases } from "./case-folding.js";
import { CodeSet } from "./code-set.js";
import { unlimited } from "./program.js";
import { bracketSet, bracketWords, digits, hexDigits, propertySet, spaces, words } from "./properties.js";

export interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
}

interface FlagChange {
  readonly enable?: Partial<Flags>;
  readonly disable?: Partial<Flags>;
}

export function withFlags(flags: Flags, change: FlagChange | undefined): Flags {
  const of = (name: keyof Flags) => (flags[name] || change?.enable?.[name] === true) && change?.disable?.[name] !== true;
  return { ignoreCase: of("ignoreCase"), dotAll: of("dotAll") };
}

export const lineEnds = CodeSet.of(0x0a, 0x0b, 0x0c, 0x0d, 0x85, 0x2028, 0x2029);
const lineFeed = CodeSet.of(0x0a);

/** The characters that a node stands for, where it always stands for exactly one. */
export function setOf(node: AlternativeElementNode | CharacterClassElementNode, flags: Flags): CodeSet | undefined {
  switch (node.type) {
    case "Character":
      return flags.ignoreCase ? casesOf(node.value) : CodeSet.of(node.value);
    case "CharacterClassRange":
      return CodeSet.ofRanges([[node.min.value, node.max.value + 1]]);
    case "CharacterClass": {
      const parts = node.body.map((part) => partOf(part, flags));
      const set =
        node.kind === "union"
          ? CodeSet.none.union(...parts)
          : parts.reduce((common, part) => common.intersection(part), CodeSet.all);
      const folded = flags.ignoreCase ? withOtherCases(set) : set;
      return node.negate ? folded.complement() : folded;
    }
    case "CharacterSet":
      return node.variableLength ? undefined : namedSet(node, flags);
    default:
      return undefined;
  }
}

/** Case is ignored by the outermost class: what is in it is taken as it stands, before it may be negated. */
const partOf = (part: CharacterClassElementNode, flags: Flags): CodeSet => {
  if (part.type === "CharacterSet" && part.kind === "word") return part.negate ? bracketWords().complement() : bracketWords();
  return setOf(part, { ...flags, ignoreCase: false }) ?? CodeSet.none;
};

function namedSet(node: CharacterSetNode, flags: Flags): CodeSet {
  const set = plainSet(node, flags);
  return node.negate === true ? set.complement() : set;
}

function plainSet(node: CharacterSetNode, { dotAll }: Flags): CodeSet {
  switch (node.kind) {
    case "any":
      return CodeSet.all;
    case "dot":
      return dotAll ? CodeSet.all : lineFeed.complement();
    case "newline":
      return lineFeed;
    case "digit":
      return digits();
    case "hex":
      return hexDigits();
    case "space":
      return spaces();
    case "word":
      return words();
    default: {
      const { kind, value } = node;
      const set = value === undefined ? undefined : kind === "posix" ? bracketSet(value) : propertySet(value);
      if (set) return set;
      throw new Error(`it names a property ${value} that is not known here`);
    }
  }
}

/** Flags that are set in the middle, `a(?i)b|c`, hold to the end of the group: `a(?i:b|c)`. */
export function withDirectives(alternatives: readonly AlternativeNode[]): readonly AlternativeNode[] {
  for (const [i, { body }] of alternatives.entries()) {
    const at = body.findIndex((node) => node.type === "Directive" && node.kind === "flags");
    const directive = body[at];
    if (directive?.type !== "Directive" || directive.kind !== "flags") continue;
    const rest: AlternativeNode[] = [{ type: "Alternative", body: body.slice(at + 1) }, ...alternatives.slice(i + 1)];
    const group: AlternativeElementNode = { type: "Group", flags: directive.flags, body: rest };
    return [...alternatives.slice(0, i), { type: "Alternative", body: [...body.slice(0, at), group] }];
  }
  return alternatives;
}

/** What alternatives can begin with; undefined where that may be nothing, or is not known. */
export function firstOf(alternatives: readonly AlternativeNode[], flags: Flags): CodeSet | undefined {
  const firsts = withDirectives(alternatives).map(({ body }) => firstOfSequence(body, flags));
  return firsts.every((first) => first !== undefined) ? CodeSet.none.union(...firsts) : undefined;
}

function firstOfSequence(nodes: readonly AlternativeElementNode[], flags: Flags): CodeSet | undefined {
  let before = CodeSet.none;
  for (const node of nodes) {
    const canBeSkipped = node.type === "Quantifier" && (node.min === 0 || (node.kind === "lazy" && node.min === node.max));
    const readsNothing = node.type === "LookaroundAssertion" || node.type === "Assertion" || node.type === "Directive";
    if (readsNothing) continue;
    const first = firstOfNode(canBeSkipped ? node.body : node, flags);
    if (!first) return undefined;
    before = before.union(first);
    if (!canBeSkipped) return before;
  }
  return undefined;
}

function firstOfNode(node: AlternativeElementNode, flags: Flags): CodeSet | undefined {
  const set = setOf(node, flags);
  if (set) return set;
  if (node.type === "Group") return firstOf(node.body, withFlags(flags, node.flags));
  if (node.type === "CapturingGroup") return firstOf(node.body, flags);
  if (node.type === "Quantifier" && node.min > 0) return firstOfNode(node.body, flags);
  return undefined;
}

/** The fewest and the most characters that alternatives match. */
export function widthOf(alternatives: readonly AlternativeNode[]): [shortest: number, longest: number] {
  const widths = alternatives.map(({ body }) =>
    body.map(widthOfNode).reduce<[number, number]>(([a, b], [c, d]) => [a + c, capped(b + d)], [0, 0]),
  );
  return [Math.min(...widths.map(([shortest]) => shortest)), Math.max(...widths.map(([, longest]) => longest))];
}

const capped = (count: number): number => Math.min(count, unlimited);

function widthOfNode(node: AlternativeElementNode): [shortest: number, longest: number] {
  switch (node.type) {
    case "Character":
    case "CharacterClass":
      return [1, 1];
    case "CharacterSet":
      return node.variableLength ? [1, unlimited] : [1, 1];
    case "Group":
    case "CapturingGroup":
      return widthOf(node.body);
    case "Quantifier": {
      const [shortest, longest] = widthOfNode(node.body);
      return [shortest * node.min, longest === 0 ? 0 : capped(longest * (node.max ?? unlimited))];
    }
    case "Backreference":
      return [0, unlimited];
    default:
      return [0, 0];
  }
}
