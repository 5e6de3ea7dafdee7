/** The instructions of a pattern, as the machine runs them: an operation and its operands. */

import type { CodeSet } from "./code-set.js";

export const op = {
  match: 0,
  /** [code point] */
  char: 1,
  /** [set] */
  set: 2,
  /** Tries what follows first, then what stands at the address. [address] */
  split: 3,
  /** The other way round. [address] */
  splitLazy: 4,
  jump: 5,
  /** Goes to the address where the next character is not of the set. [set, address] */
  skipUnless: 6,
  /** Characters of a set, as many as there are. [set, least, most] */
  repeat: 7,
  repeatLazy: 8,
  repeatPossessive: 9,
  /** [address behind the body, negated] The body follows and ends in `match`. */
  ahead: 10,
  /** [address behind the body, negated, shortest, longest (in characters)] */
  behind: 11,
  atomic: 12,
  /** [assertion, negated] */
  assert: 13,
  /** Keeps the place in a register. [register] */
  mark: 14,
  /** Goes to the address where nothing was read since the mark. [register, address] */
  exitIfEmpty: 15,
  /** Repeats what a group matched. [group, ignoring case] */
  back: 16,
  /** The match begins here. */
  keep: 17,
} as const;

export const assertion = { textStart: 0, textEnd: 1, lastLineEnd: 2, lineStart: 3, lineEnd: 4, word: 5, searchStart: 6 } as const;

export const unlimited = 0x7fffffff;

export interface Program {
  readonly code: Int32Array;
  readonly sets: readonly CodeSet[];
  /** Places that are kept: start and end of each group, then those of loops. */
  readonly registers: number;
}
