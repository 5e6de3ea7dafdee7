/** The sets that Oniguruma's properties, POSIX brackets and shorthands stand for. */

import { CodeSet } from "./code-set.js";
import { alphabetic, categoryNames, categoryRuns, lowercase, scripts, uppercase, whiteSpace } from "./property-tables.js";

/** A set that is made when it is first asked for. */
const later = (make: () => CodeSet): (() => CodeSet) => {
  let made: CodeSet | undefined;
  return () => {
    made ??= make();
    return made;
  };
};

let rangesOfCategories: Map<string, [number, number][]> | undefined;

function categories(): Map<string, [number, number][]> {
  if (rangesOfCategories) return rangesOfCategories;
  const found = new Map<string, [number, number][]>([...categoryNames, "Cn"].map((name) => [name, []]));
  let at = 0;
  for (const run of categoryRuns.split(" ")) {
    const end = at + Number.parseInt(run.slice(1), 36);
    found.get(categoryNames[run.charCodeAt(0) - 97] ?? "Cn")?.push([at, end]);
    at = end;
  }
  rangesOfCategories = found;
  return found;
}

/** Characters of the general categories whose names begin so. */
const category = (...prefixes: readonly string[]): CodeSet =>
  CodeSet.ofRanges(
    [...categories()].flatMap(([name, ranges]) => (prefixes.some((prefix) => name.startsWith(prefix)) ? ranges : [])),
  );

export const spaces = later(() => CodeSet.parse(whiteSpace));
const letters = later(() => CodeSet.parse(alphabetic));
export const bracketWords = later(() => letters().union(category("M", "Nd", "Pc")));
/** `\w` and `\b` take the superscripts and fractions of Latin-1 for words too, `[[:word:]]` and `[\w]` do not. */
export const words = later(() => bracketWords().union(CodeSet.of(0xb2, 0xb3, 0xb9, 0xbc, 0xbd, 0xbe)));
export const digits = later(() => category("Nd"));
export const hexDigits = later(() =>
  CodeSet.ofRanges([
    [0x30, 0x3a],
    [0x41, 0x47],
    [0x61, 0x67],
  ]),
);
const graphic = later(() => category("Cn", "Cc").union(spaces()).complement());

const brackets: Readonly<Record<string, () => CodeSet>> = {
  alnum: () => letters().union(digits()),
  alpha: letters,
  ascii: () => CodeSet.ofRanges([[0, 0x80]]),
  blank: () => category("Zs").union(CodeSet.of(9)),
  cntrl: () => category("Cc"),
  digit: digits,
  graph: graphic,
  lower: () => CodeSet.parse(lowercase),
  print: () => graphic().union(category("Zs")),
  punct: () => category("P", "S"),
  space: spaces,
  upper: () => CodeSet.parse(uppercase),
  word: bracketWords,
  xdigit: hexDigits,
};

const knownBrackets = new Map(Object.entries(brackets).map(([name, make]) => [name, later(make)]));

export const bracketSet = (name: string): CodeSet | undefined => knownBrackets.get(name)?.();

/** Names that are not those of `\p{...}` in JavaScript. */
const longNames: Readonly<Record<string, string>> = {
  letter: "L",
  casedletter: "LC",
  mark: "M",
  combiningmark: "M",
  number: "N",
  punctuation: "P",
  symbol: "S",
  separator: "Z",
  other: "C",
  uppercaseletter: "Lu",
  lowercaseletter: "Ll",
  titlecaseletter: "Lt",
  modifierletter: "Lm",
  otherletter: "Lo",
  nonspacingmark: "Mn",
  spacingmark: "Mc",
  enclosingmark: "Me",
  decimalnumber: "Nd",
  letternumber: "Nl",
  othernumber: "No",
  connectorpunctuation: "Pc",
  dashpunctuation: "Pd",
  openpunctuation: "Ps",
  closepunctuation: "Pe",
  initialpunctuation: "Pi",
  finalpunctuation: "Pf",
  otherpunctuation: "Po",
  mathsymbol: "Sm",
  currencysymbol: "Sc",
  modifiersymbol: "Sk",
  othersymbol: "So",
  spaceseparator: "Zs",
  lineseparator: "Zl",
  paragraphseparator: "Zp",
  control: "Cc",
  format: "Cf",
  privateuse: "Co",
  unassigned: "Cn",
};

const knownProperties = new Map<string, CodeSet | undefined>();

/** The characters of `\p{name}`, or undefined where the name is not known. */
export function propertySet(name: string): CodeSet | undefined {
  if (!knownProperties.has(name)) {
    if (knownProperties.size > 1000) knownProperties.clear(); // a stranger's pattern may have any number of names
    knownProperties.set(name, makePropertySet(name));
  }
  return knownProperties.get(name);
}

function makePropertySet(name: string): CodeSet | undefined {
  const slug = name.toLowerCase().replace(/[\s_-]/g, "");
  const general = longNames[slug] ?? Object.values(longNames).find((short) => short.toLowerCase() === slug);
  if (general === "LC") return category("Lu", "Ll", "Lt");
  if (general !== undefined) return general === "C" ? category("C").union(surrogates) : category(general);
  if (slug === "any") return CodeSet.all;
  if (slug === "assigned") return category("Cn").complement();
  if (slug === "alphabetic") return letters();
  if (slug === "whitespace") return spaces();
  if (bracketSet(slug)) return bracketSet(slug);
  const script = Object.keys(scripts).find((known) => known.toLowerCase() === slug);
  if (script !== undefined) return CodeSet.parse(scripts[script] as string);
  return propertyOfJavaScript(name);
}

/** All code points in order, in texts of 4,096, without surrogates. */
function* allCharacters(): Generator<string, void, undefined> {
  const size = 1 << 12;
  for (let first = 0; first < 0x110000; first += size) {
    const codes = Array.from({ length: size }, (_, i) => first + i).filter((code) => code < 0xd800 || code > 0xdfff);
    yield String.fromCodePoint(...codes);
  }
}

const surrogates = CodeSet.ofRanges([[0xd800, 0xe000]]);

/** Rarer scripts and properties as this JavaScript has them, of the characters that Oniguruma knows. */
function propertyOfJavaScript(name: string): CodeSet | undefined {
  for (const spelling of [name, `Script=${name}`]) {
    let pattern: RegExp;
    try {
      pattern = new RegExp(`\\p{${spelling}}+`, "gu");
    } catch {
      continue;
    }
    const members: [number, number][] = [];
    for (const block of allCharacters())
      for (const { 0: run } of block.matchAll(pattern)) {
        const last = run.length - ((run.codePointAt(run.length - 2) ?? 0) > 0xffff ? 2 : 1);
        members.push([run.codePointAt(0) as number, (run.codePointAt(last) as number) + 1]);
      }
    return CodeSet.ofRanges(members).intersection(category("Cn").union(surrogates).complement());
  }
  return undefined;
}
