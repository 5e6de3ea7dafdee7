/** Tokens that are found in a text before anything else is done to it. */

import { characterClass, isCharacter, whiteSpace } from "../text/characters.js";
import { Trie } from "../text/trie.js";
import type { AddedToken } from "../tokenizer-json.js";

/** A part of a text: an added token, or what lies between two of them. */
export interface Section {
  readonly start: number;
  readonly end: number;
  readonly id: number | undefined;
}

/** @param splitSpecial leaves special tokens in the text, as text like any other */
export type SectionFinder = (text: string, splitSpecial?: boolean) => readonly Section[];

/**
 * Cuts a text around tokens, of several that start at a place the longest one.
 * @param spell how a token is written in the text that is searched
 */
export function createSectionFinder(tokens: readonly AddedToken[], spell: (token: AddedToken) => string): SectionFinder {
  const spellings = new Trie();
  const firstUnits = new Set<number>();
  tokens.forEach((token, i) => {
    const spelling = spell(token);
    if (spelling === "" || valueAt(spellings, spelling) >= 0) return; // of two that are written alike, the first
    spellings.set(spelling, i);
    firstUnits.add(spelling.charCodeAt(0));
  });
  if (firstUnits.size === 0) return (text) => (text === "" ? [] : [{ start: 0, end: text.length, id: undefined }]);
  const nextCandidate = candidates([...firstUnits]);

  /** Where the longest token ends that begins at `at`, and which it is; false where none does. */
  let foundEnd = 0;
  let foundToken = 0;
  const find = (text: string, at: number): boolean => {
    let isFound = false;
    for (let end = at, node = 0; end < text.length; ) {
      node = spellings.child(node, text.charCodeAt(end++));
      if (node < 0) break;
      const token = spellings.value(node);
      if (token < 0) continue;
      isFound = true;
      foundEnd = end;
      foundToken = token;
    }
    return isFound;
  };

  return (text, splitSpecial = false) => {
    const sections: Section[] = [];
    let done = 0; // what lies before belongs to a section
    let search = 0;
    for (let at = nextCandidate(text, search); at !== -1; at = nextCandidate(text, search)) {
      if (!find(text, at)) {
        search = at + 1;
        continue;
      }
      search = foundEnd;
      const token = tokens[foundToken] as AddedToken;
      if (splitSpecial && token.special) continue;
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

function valueAt(trie: Trie, key: string): number {
  let node = 0;
  for (let i = 0; i < key.length && node >= 0; i++) node = trie.child(node, key.charCodeAt(i));
  return node < 0 ? -1 : trie.value(node);
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
