import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { characterPattern, forEachPiece, gpt2Pattern, splitAtTokens, wellFormed } from "./pretokenize.js";

function pieces(text: string, pattern: RegExp): string[] {
  const found: string[] = [];
  forEachPiece(text, pattern, (piece) => found.push(piece));
  return found;
}

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom("a", "Z", "é", "7", " ", "\n", "'", "s", "ll", "!", "\uFEFF", "\u0085") }),
);

describe("forEachPiece", () => {
  it("cuts as GPT-2 does", () => {
    expect(pieces("We'll see  the 3 whales!!\n\n  \tOK's", gpt2Pattern)).toEqual(
      ["We", "'ll", " see", " ", " the", " 3", " whales", "!!", "\n\n  ", "\t", "OK", "'s"], // the last white space stands alone
    );
    expect(pieces("a\u0085b\uFEFFc", gpt2Pattern)).toEqual(["a", "\u0085", "b", "\uFEFF", "c"]);
    expect(pieces("a\u0085\u0085b\uFEFF!c", gpt2Pattern)).toEqual(["a", "\u0085", "\u0085", "b", "\uFEFF!", "c"]);
    expect(pieces("a😀\n", characterPattern)).toEqual(["a", "😀", "\n"]);
  });

  it("covers any text, and names each piece's offset", () => {
    fc.assert(
      fc.property(anyText, fc.constantFrom(gpt2Pattern, characterPattern), (text, pattern) => {
        let end = 0;
        forEachPiece(text, pattern, (piece, offset) => {
          expect(offset).toBe(end);
          expect(piece).not.toBe("");
          end += piece.length;
        });
        expect(end).toBe(text.length);
      }),
    );
  });

  it("finds a piece whole when it stands alone, so that pieces can be encoded one by one", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        for (const piece of pieces(text, gpt2Pattern)) expect(pieces(piece, gpt2Pattern)).toEqual([piece]);
      }),
    );
  });
});

describe("splitAtTokens", () => {
  it("cuts out the longest token that starts at a place", () => {
    expect(splitAtTokens("a<s><s>b<se>", ["<s>", "<se>", "<s"])).toEqual(["a", "<s>", "<s>", "b", "<se>"]);
    expect(splitAtTokens("a.b|c", ["|", "."])).toEqual(["a", ".", "b", "|", "c"]);
    expect(splitAtTokens("abc", [])).toEqual(["abc"]);
    expect(splitAtTokens("", [])).toEqual([]);
  });
});

describe("wellFormed", () => {
  it("replaces lone surrogates and nothing else", () => {
    expect(wellFormed("a\uD83D\uDE00b\uD83Dc\uDE00")).toBe("a😀b\uFFFDc\uFFFD");
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => wellFormed(text) === text));
  });
});
