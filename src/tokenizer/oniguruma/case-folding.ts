/** Characters that differ in case only (Unicode's simple case folding). */

import { CodeSet } from "./code-set.js";

let classes: Map<number, number[]> | undefined;

/** Each character that has others like it, with all of them. */
function caseClasses(): Map<number, number[]> {
  if (classes) return classes;
  const byFold = new Map<number, number[]>();
  for (let code = 0x41; code < 0x1e944; code++) {
    if (code === 0x2e80) code = 0xa640; // nothing has case between them
    if (code === 0xac00) code = 0xfb00;
    const folded = fold(code);
    if (folded !== code) byFold.set(folded, [...(byFold.get(folded) ?? [folded]), code]);
  }
  classes = new Map([...byFold.values()].flatMap((alike) => alike.map((code) => [code, alike] as const)));
  return classes;
}

const dotlessI = 0x131;

/** The lower case of the upper case, where both are single characters. */
export function fold(code: number): number {
  if (code === dotlessI) return code; // its upper case is I, but only to those who read Turkish
  const character = String.fromCodePoint(code);
  const upper = single(character.toUpperCase()) ?? character;
  const lower = single(upper.toLowerCase()) ?? character;
  return lower.codePointAt(0) as number;
}

const single = (text: string): string | undefined =>
  text.length === ((text.codePointAt(0) as number) > 0xffff ? 2 : 1) ? text : undefined;

/** A character and all that differ from it in case only. */
export const casesOf = (code: number): CodeSet => CodeSet.of(...(caseClasses().get(code) ?? [code]));

/** The set with all characters that differ from one of its own in case only. */
export function withOtherCases(set: CodeSet): CodeSet {
  const others = [...caseClasses()].filter(([code]) => set.has(code)).flatMap(([, alike]) => alike);
  return others.length === 0 ? set : set.union(CodeSet.of(...others));
}
