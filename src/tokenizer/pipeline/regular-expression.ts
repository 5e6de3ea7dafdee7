/** Patterns of `tokenizer.json`, which are written for Oniguruma, as regular expressions of JavaScript. */

import { TsumikiError } from "../../errors.js";

/** `{"String": ...}` or `{"Regex": ...}` as a regular expression, with flag `u` and the given ones. */
export function patternOf(pattern: unknown, flags: string): RegExp {
  const { String: literal, Regex: source } = (pattern ?? {}) as { String?: unknown; Regex?: unknown };
  if (typeof literal === "string") return new RegExp(escaped(literal), `u${flags}`);
  if (typeof source !== "string")
    throw new TsumikiError(
      "TOKENIZER",
      `A pattern in this tokenizer.json is neither a String nor a Regex: ${JSON.stringify(pattern)}.`,
    );
  try {
    return new RegExp(fromOniguruma(source), `u${flags}`);
  } catch (cause) {
    throw new TsumikiError(
      "TOKENIZER",
      `The pattern ${source} of this tokenizer.json cannot be used here: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}

export const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, (c) => (c === "-" ? "\\x2d" : `\\${c}`));

/** Classes that Oniguruma's Unicode mode and JavaScript's `u` flag write or mean differently. */
const classes: Readonly<Record<string, readonly [plain: string, inClass: string]>> = {
  s: ["\\p{White_Space}", "\\p{White_Space}"],
  S: ["\\P{White_Space}", "\\P{White_Space}"],
  w: ["[\\p{L}\\p{M}\\p{N}\\p{Pc}]", "\\p{L}\\p{M}\\p{N}\\p{Pc}"],
  W: ["[^\\p{L}\\p{M}\\p{N}\\p{Pc}]", "\\W"],
  d: ["\\p{Nd}", "\\p{Nd}"],
  D: ["\\P{Nd}", "\\P{Nd}"],
  h: ["[0-9A-Fa-f]", "0-9A-Fa-f"],
  A: ["(?<![\\s\\S])", ""],
  z: ["(?![\\s\\S])", ""],
};
const propertyNames: Readonly<Record<string, string>> = { Han: "Script=Han", Hangul: "Script=Hangul", Latin: "Script=Latin" };

/** Also: `(?i:...)`, which JavaScript learned after Node 20, and possessive quantifiers, which become greedy ones. */
export function fromOniguruma(source: string): string {
  let result = "";
  let inClass = false;
  let depth = 0;
  const ignoringCaseAbove: number[] = [];
  for (let i = 0; i < source.length; i++) {
    const character = source[i] as string;
    const rest = source.slice(i);
    if (character === "\\") {
      const property = /^\\([pP])\{(\^?)([^}]*)\}/.exec(rest);
      const next = source[i + 1] ?? "";
      if (property) {
        const [whole, letter, negated, name = ""] = property;
        const kind = (letter === "P") !== (negated === "^") ? "P" : "p";
        result += `\\${kind}{${propertyNames[name] ?? name}}`;
        i += whole.length - 1;
      } else {
        const known = classes[next];
        if (known) result += known[inClass ? 1 : 0];
        else result += /[a-zA-Z0-9^$\\.*+?()[\]{}|/]/.test(next) || (next === "-" && inClass) ? `\\${next}` : next;
        i++;
      }
    } else if (inClass) {
      if (character === "]") inClass = false;
      result += character === "[" ? "\\[" : foldCase(character, ignoringCaseAbove.length > 0, true);
    } else if (character === "[") {
      inClass = true;
      result += "[";
      if (source[i + 1] === "^") result += source[++i];
      if (source[i + 1] === "]") {
        result += "\\]";
        i++;
      }
    } else if (rest.startsWith("(?i:")) {
      ignoringCaseAbove.push(depth++);
      result += "(?:";
      i += 3;
    } else if (rest.startsWith("(?>")) {
      throw new Error("it has an atomic group");
    } else if (character === "(") {
      depth++;
      result += "(";
    } else if (character === ")") {
      if (ignoringCaseAbove.at(-1) === --depth) ignoringCaseAbove.pop();
      result += ")";
    } else if (character === "+" && /(?<!\\)[+*?]$/.test(source.slice(0, i))) {
      // a possessive quantifier
    } else if (character === "+" && /\{\d*,?\d*\}$/.test(source.slice(0, i))) {
      result = repeatedInterval(result);
    } else result += foldCase(character, ignoringCaseAbove.length > 0, false);
  }
  return result;
}

/** After `{n,m}` a plus is no mark of possession: the interval repeats, which makes n or more where no number is left out. */
function repeatedInterval(source: string): string {
  const [whole = "", least = "", comma, most = ""] = /\{(\d*)(,?)(\d*)\}$/.exec(source) ?? [];
  const [from, to] = [Number(least), comma ? (most === "" ? Number.POSITIVE_INFINITY : Number(most)) : Number(least)];
  if (to < 2 * from - 1) throw new Error(`it repeats the interval ${whole}`);
  return `${source.slice(0, -whole.length)}{${from},}`;
}

function foldCase(character: string, ignoringCase: boolean, inClass: boolean): string {
  if (!ignoringCase || !/[a-zA-Z]/.test(character)) return character;
  const forms =
    character.toLowerCase() +
    character.toUpperCase() +
    (/[sS]/.test(character) ? "\u017f" : /[kK]/.test(character) ? "\u212a" : "");
  return inClass ? forms : `[${forms}]`;
}
