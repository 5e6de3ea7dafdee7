/** Characters of a text at a place. */

/** The code point at `at`. */
export const codeAt = (text: string, at: number): number => {
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit < 0xdc00 ? (text.codePointAt(at) as number) : unit;
};

/** Where the character begins that ends at `at`. */
export const before = (text: string, at: number): number => {
  const unit = text.charCodeAt(at - 1);
  return unit >= 0xdc00 && unit < 0xe000 && at > 1 ? at - 2 : at - 1;
};
