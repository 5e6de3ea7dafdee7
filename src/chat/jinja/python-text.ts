/** How Python writes a value into a text: `str`, and `repr` within lists and dicts. */

import type { Value } from "./library.js";

/** What `{{ value }}` prints. The library prints nothing for None, and JSON for lists. */
export function pythonText(value: Value): string {
  switch (value.type) {
    case "NullValue":
      return "None";
    case "UndefinedValue":
      return "";
    case "BooleanValue":
      return value.value ? "True" : "False";
    case "StringValue":
      return value.value;
    case "ArrayValue":
      return `[${value.value.map(pythonRepr).join(", ")}]`;
    case "TupleValue":
      return `(${value.value.map(pythonRepr).join(", ")}${value.value.length === 1 ? "," : ""})`;
    case "ObjectValue":
      return `{${[...value.value].map(([key, item]) => `${quoted(key)}: ${pythonRepr(item)}`).join(", ")}}`;
    default:
      return value.toString();
  }
}

const pythonRepr = (value: Value): string => (value.type === "StringValue" ? quoted(value.value) : pythonText(value));

/** Single quotes, unless the text has some and no double ones. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\'"\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}\p{Cs}]/gu, (character) => {
    if (character === " ") return character;
    if (character === '"' || character === "'") return character === quote ? `\\${character}` : character;
    const short = shortEscapes.get(character);
    if (short) return short;
    const code = character.codePointAt(0) as number;
    const hex = code.toString(16);
    return code < 0x100
      ? `\\x${hex.padStart(2, "0")}`
      : code < 0x10000
        ? `\\u${hex.padStart(4, "0")}`
        : `\\U${hex.padStart(8, "0")}`;
  });
  return `${quote}${escaped}${quote}`;
}

const shortEscapes = new Map([
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

/** `str.strip()`: unlike JavaScript's, it takes the separators and U+0085 for white space, and U+FEFF for text. */
export const pythonStrip = (text: string): string => text.replace(leadingWhiteSpace, "").replace(trailingWhiteSpace, "");

const whiteSpace = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const leadingWhiteSpace = new RegExp(`^${whiteSpace}+`);
const trailingWhiteSpace = new RegExp(`(?<!${whiteSpace})${whiteSpace}+$`); // each run is tried once, not once for each of its places

export type StripMethod = "strip" | "lstrip" | "rstrip";

/** `str.strip(characters)`: all characters of the set go from the ends; white space where no set is given. */
export function pythonStripped(text: string, method: StripMethod, characters?: string): string {
  if (characters === undefined) {
    const left = method === "rstrip" ? text : text.replace(leadingWhiteSpace, "");
    return method === "lstrip" ? left : left.replace(trailingWhiteSpace, "");
  }
  const [points, set] = [[...text], new Set(characters)];
  let [start, end] = [0, points.length];
  if (method !== "rstrip") while (start < end && set.has(points[start] as string)) start++;
  if (method !== "lstrip") while (end > start && set.has(points[end - 1] as string)) end--;
  return points.slice(start, end).join("");
}

export const pythonType = ({ type }: Value): string => pythonTypes.get(type) ?? type;

const pythonTypes = new Map([
  ["StringValue", "str"],
  ["IntegerValue", "int"],
  ["FloatValue", "float"],
  ["BooleanValue", "bool"],
  ["NullValue", "NoneType"],
  ["ArrayValue", "list"],
  ["TupleValue", "tuple"],
  ["ObjectValue", "dict"],
]);
