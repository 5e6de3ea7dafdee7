import { expect, it } from "vitest";
import { patternOf } from "./regular-expression.js";

const pieces = (Regex: string, text: string) => text.match(patternOf({ Regex }, "g"));

it.each([
  ["\\p{L}+", "it's whole", ["it", "s", "whole"]],
  ["\\p{N}+|[^\\p{N}]+", "in 2026 or 7", ["in ", "2026", " or ", "7"]],
  ["\\p{N}{2}", "12345", ["12", "34"]],
  ["[a-c]++|d?+e|f*+g", "abcdefg", ["abc", "de", "fg"]],
  ["\\p{N}{1,3}+|e{,2}+x", "1234567 eeex", ["1234567", "eeex"]],
  ["\\++", "a++b+", ["++", "+"]],
])("%s finds in %j what Oniguruma finds", (regex, text, found) => {
  expect(pieces(regex, text)).toEqual(found);
});

it("what JavaScript cannot say is refused", () => {
  expect(() => pieces("\\p{N}{3}+", "")).toThrow(/cannot be used here: it repeats the interval \{3\}/);
  expect(() => pieces("(?>a)", "")).toThrow(/cannot be used here: it has an atomic group/);
});
