/** Tokens that are found in a text before anything else is done to it. */

import { characterClass, isCharacter, whiteSpace } from "../text/characters.js";
import type { AddedToken } from "../tokenizer-json.js";

/** A part of a text: an added token, or what lies between two of them. */
export interface Section {
  readonly start: number;
  readonly end: number;
  readonly id: number | undefined;
}

export type SectionFinder = (text: string) => readonly Section[];

interface Spelled {
  readonly spelling: string;
  readonly token: AddedToken;
}

/**
 * Cuts a text around tokens, of several that start at a place the longest one.
 * @param spell how a token is written in the text that is searched
 */
export function createSectionFinder(tokens: readonly AddedToken[], spell: (token: AddedToken) => string): SectionFinder {
  const byFirstUnit = new Map<number, Spelled[]>();
  for (const token of tokens) {
    const spelling = spell(token);
    if (spelling === "") continue;
    const unit = spelling.charCodeAt(0);
    byFirstUnit.set(unit, [...(byFirstUnit.get(unit) ?? []), { spelling, token }]);
  }
  for (const list of byFirstUnit.values()) list.sort((a, b) => b.spelling.length - a.spelling.length);
  if (byFirstUnit.size === 0) return (text) => (text === "" ? [] : [{ start: 0, end: text.length, id: undefined }]);
  const nextCandidate = candidates([...byFirstUnit.keys()]);

  return (text) => {
    const sections: Section[] = [];
    let done = 0; // what lies before belongs to a section
    let search = 0;
    for (let at = nextCandidate(text, search); at !== -1; at = nextCandidate(text, search)) {
      const found = byFirstUnit.get(text.charCodeAt(at))?.find(({ spelling }) => text.startsWith(spelling, at));
      if (!found) {
        search = at + 1;
        continue;
      }
      const { spelling, token } = found;
      search = at + spelling.length;
      if (token.single_word && (isWordBefore(text, at) || isWordAt(text, search))) continue;
      let start = at;
      let end = search;
      if (token.lstrip) while (start > done && whiteSpace.includes(text[start - 1] as string)) start--;
      if (token.rstrip) while (end < text.length && whiteSpace.includes(text[end] as string)) end++;
      if (start > done) sections.push({ start: done, end: start, id: undefined });
      sections.push({ start, end, id: token.id });
      done = end;
    }
    if (done < text.length) sections.push({ start: done, end: text.length, id: undefined });
    return sections;
  };
}

/** The next place from `from` on where one of the units stands, or -1. */
function candidates(units: readonly number[]): (text: string, from: number) => number {
  const [only] = units;
  if (units.length === 1) {
    const character = String.fromCharCode(only as number);
    return (text, from) => text.indexOf(character, from);
  }
  const wanted = new Uint8Array(0x10000);
  for (const unit of units) wanted[unit] = 1;
  return (text, from) => {
    for (let at = from; at < text.length; at++) if (wanted[text.charCodeAt(at)] === 1) return at;
    return -1;
  };
}

const isWordAt = (text: string, at: number): boolean =>
  at < text.length && isCharacter(text.codePointAt(at) as number, characterClass.word);

function isWordBefore(text: string, at: number): boolean {
  if (at === 0) return false;
  const code = at > 1 ? (text.codePointAt(at - 2) as number) : 0;
  return isCharacter(code > 0xffff ? code : text.charCodeAt(at - 1), characterClass.word);
}
