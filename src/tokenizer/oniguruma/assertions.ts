/** What patterns say of a place without reading anything. */

import { before, codeAt } from "./characters.js";
import { assertion } from "./program.js";
import { words } from "./properties.js";

/** Whether the assertion `kind` holds at `at`, in a search that began at `searchStart`. */
export function asserts(text: string, kind: number, at: number, searchStart: number): boolean {
  const isEnd = at === text.length;
  const isLineFeed = (place: number) => text.charCodeAt(place) === 0x0a;
  switch (kind) {
    case assertion.textStart:
      return at === 0;
    case assertion.textEnd:
      return isEnd;
    case assertion.lastLineEnd:
      return isEnd || (at === text.length - 1 && isLineFeed(at));
    case assertion.lineStart:
      return at === 0 || (isLineFeed(at - 1) && !isEnd);
    case assertion.lineEnd:
      return isEnd || isLineFeed(at);
    case assertion.searchStart:
      return at === searchStart;
    default: {
      const isWord = (place: number) => words().has(codeAt(text, place));
      return (at > 0 && isWord(before(text, at))) !== (!isEnd && isWord(at));
    }
  }
}
