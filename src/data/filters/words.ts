/** Words of any language, without a dictionary. */

/** A character of a script that is written without spaces is a word by itself; elsewhere a run without space is one. */
const pattern =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]|[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]+/gu;

const unspaced =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

export const wordsOf = (text: string): readonly string[] => text.match(pattern) ?? [];

/** Whether a word of `wordsOf` is a character of a script without spaces. */
export const isUnspaced = (word: string): boolean => unspaced.test(word);

export const linesOf = (text: string): readonly string[] => text.split(/\r?\n/).filter((line) => line.trim() !== "");

export const paragraphsOf = (text: string): readonly string[] => text.split(/\r?\n\s*\n/).filter((part) => part.trim() !== "");
