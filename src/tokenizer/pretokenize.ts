/** Cutting text into the pieces that a tokenizer encodes one by one. */

/**
 * GPT-2's pre-tokens (Radford et al. 2019, `encoder.py`): English contractions, and runs of letters, of numbers or of anything else,
 * each with the one space before it; then white space. White space is Unicode's, as in Rust: JavaScript's `\s` has U+FEFF too and lacks
 * U+0085.
 */
export const gpt2Pattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** One piece a code point. */
export const characterPattern = /[\s\S]/gu;

/** Calls `visit` with each piece of `text`, in order. The pattern must match at every place where the last piece ended. */
export function forEachPiece(text: string, pattern: RegExp, visit: (piece: string, offset: number) => void): void {
  let offset = 0;
  pattern.lastIndex = 0;
  while (pattern.test(text)) {
    visit(text.slice(offset, pattern.lastIndex), offset);
    offset = pattern.lastIndex;
  }
}

/** Cuts `text` around every occurrence of one of `tokens` (the longest, where several start), which stand as sections of their own. */
export function splitAtTokens(text: string, tokens: readonly string[]): string[] {
  if (tokens.length === 0) return text === "" ? [] : [text];
  const longestFirst = [...tokens].sort((a, b) => b.length - a.length);
  const alternatives = longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return text.split(new RegExp(`(${alternatives.join("|")})`, "u")).filter((section) => section !== "");
}

/** A lone half of a surrogate pair has no UTF-8 form: it becomes U+FFFD, as it would in any file. */
export const wellFormed = (text: string): string =>
  /\p{Surrogate}/u.test(text) ? text.replace(/\p{Surrogate}/gu, "\uFFFD") : text;
