/** Patterns with named axes: `"b (h d) ... -> b h ... d"`. */

import { ArgumentError, type ShapeError } from "../../errors.js";

/** An axis of a pattern once brackets are opened. */
export interface Axis {
  /** Tells axes apart: as written, but axes behind `...` and numbers get names of their own. */
  readonly name: string;
  /** As written. */
  readonly text: string;
  /** Of an axis written as a number. */
  readonly size?: number;
  /** Where it stands in the pattern. */
  readonly position: number;
}

export interface Pattern {
  readonly operator: string;
  readonly source: string;
  /** For each axis of the operand: what it consists of. An axis of size 1 consists of nothing. */
  readonly left: readonly (readonly Axis[])[];
  readonly right: readonly (readonly Axis[])[];
  /** Where each group on the left begins. */
  readonly groupPositions: readonly number[];
}

/** An error with the pattern and a caret under the place. */
export function patternError(
  { operator, source }: Pick<Pattern, "operator" | "source">,
  position: number,
  problem: string,
  kind: typeof ArgumentError | typeof ShapeError = ArgumentError,
): ArgumentError | ShapeError {
  return new kind(`${operator}: ${problem}\n  ${source}\n  ${" ".repeat(position)}^`);
}

interface Token {
  readonly text: string;
  readonly position: number;
}

/** One axis of a side as written: its tokens, one unless it is a bracket. */
interface Group {
  readonly tokens: readonly Token[];
  readonly bracketed: boolean;
  readonly position: number;
}

/** Reads a pattern for an operand of `rank` axes, which tells how many `...` stands for. */
export function parsePattern(operator: string, source: string, rank: number): Pattern {
  const where = { operator, source };
  const arrow = source.indexOf("->");
  if (arrow < 0 || source.indexOf("->", arrow + 1) >= 0)
    throw patternError(where, Math.max(source.lastIndexOf("->"), 0), "a pattern has the form 'left -> right' with one arrow");
  const left = readSide(where, 0, arrow);
  const right = readSide(where, arrow + 2, source.length);

  const ellipsis = left.find((group) => group.tokens.some(({ text }) => text === "..."));
  if (ellipsis?.bracketed) throw patternError(where, ellipsis.position, "on the left '...' cannot stand in brackets");
  const hidden = rank - left.length + 1;
  if (ellipsis ? hidden < 0 : left.length !== rank)
    throw patternError(
      where,
      left[0]?.position ?? 0,
      `the left side names ${ellipsis ? "at least " : ""}${ellipsis ? left.length - 1 : left.length} axes, but the tensor has ${rank}`,
    );
  const stray = right.flatMap(({ tokens }) => tokens).find(({ text }) => text === "...");
  if (stray && !ellipsis) throw patternError(where, stray.position, "'...' stands on the right only");

  const count = ellipsis ? hidden : 0;
  const expandedLeft = left.flatMap((group) =>
    group === ellipsis
      ? hiddenAxes(group.tokens[0] as Token, count).map((axis) => ({ axes: [axis], position: axis.position }))
      : [{ axes: axesOf(group, 0), position: group.position }],
  );
  const expandedRight = right.flatMap((group) =>
    !group.bracketed && group.tokens[0]?.text === "..."
      ? hiddenAxes(group.tokens[0], count).map((axis) => [axis])
      : [axesOf(group, count)],
  );
  return {
    ...where,
    left: expandedLeft.map(({ axes }) => axes),
    right: expandedRight,
    groupPositions: expandedLeft.map(({ position }) => position),
  };
}

/** The axes that `...` stands for. */
const hiddenAxes = ({ text, position }: Token, count: number): readonly Axis[] =>
  Array.from({ length: count }, (_, i) => ({ name: `...${i}`, text, position }));

const axesOf = (group: Group, hidden: number): readonly Axis[] =>
  group.tokens.flatMap((token) => {
    const { text, position } = token;
    if (text === "...") return hiddenAxes(token, hidden);
    if (!/^\d/.test(text)) return [{ name: text, text, position }];
    // Axes of size 1 are left out; others that are only numbers are told apart by where they stand.
    return Number(text) === 1 ? [] : [{ name: `${text}@${position}`, text, size: Number(text), position }];
  });

/** Names, numbers, `...` and brackets between two positions of the pattern; every name once. */
function readSide(where: { readonly operator: string; readonly source: string }, start: number, end: number): readonly Group[] {
  const groups: Group[] = [];
  const seen = new Set<string>();
  let open: { readonly tokens: Token[]; readonly position: number } | undefined;
  for (const { 0: text, index } of where.source.slice(start, end).matchAll(/\.\.\.|[\p{L}_][\p{L}\p{N}_]*|\d+|\S/gu)) {
    const position = start + index;
    if (text === "(") {
      if (open) throw patternError(where, position, "brackets cannot stand in brackets");
      open = { tokens: [], position };
    } else if (text === ")") {
      if (!open) throw patternError(where, position, "this bracket was never opened");
      groups.push({ ...open, bracketed: true });
      open = undefined;
    } else {
      if (!/^(\.\.\.|[\p{L}_\d])/u.test(text)) throw patternError(where, position, `'${text}' is not the name of an axis`);
      if (!/^\d/.test(text) && seen.has(text)) throw patternError(where, position, `'${text}' stands twice on one side`);
      seen.add(text);
      if (open) open.tokens.push({ text, position });
      else groups.push({ tokens: [{ text, position }], bracketed: false, position });
    }
  }
  if (open) throw patternError(where, open.position, "this bracket is never closed");
  return groups;
}
