/** Patterns against Oniguruma itself, in the Rust library's Node binding. */

import fc from "fast-check";
import { Tokenizer as RustTokenizer } from "tokenizers";
import { describe, expect, it } from "vitest";
import { cutAround, type SplitBehavior, splitBehaviors } from "../pipeline/cutters.js";
import { gpt2Pattern, llama3Pattern, qwenPattern, scannerFor } from "../pipeline/scanners.js";
import { patternOf, regexMatcher } from "./pattern.js";

function rust(Regex: string, behavior: SplitBehavior = "Isolated", invert = false) {
  const json = {
    ...{
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      post_processor: null,
      decoder: null,
    },
    pre_tokenizer: { type: "Split", pattern: { Regex }, behavior, invert },
    model: { type: "WordLevel", vocab: { a: 0 }, unk_token: "a" },
  };
  const cutter = RustTokenizer.fromString(JSON.stringify(json)).getPreTokenizer();
  return (text: string) => (cutter?.preTokenizeString(text) ?? []).map(([piece]) => piece).filter((piece) => piece !== "");
}

function ours(Regex: string, behavior: SplitBehavior = "Isolated", invert = false) {
  const cut = cutAround(regexMatcher(Regex), behavior, invert);
  return (text: string) => {
    const pieces: string[] = [];
    cut(text, (start, end) => pieces.push(text.slice(start, end)));
    return pieces;
  };
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
const upper = "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}";
const lower = "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}";
const notHan = "&&[^\\p{Han}]";
const casedWords = (except: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?[${upper}${except}]*[${lower}${except}]+${contractions}|` +
  `[^\\r\\n\\p{L}\\p{N}]?[${upper}${except}]+[${lower}${except}]*${contractions}|\\p{N}{1,3}`;
const spaceTail = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const published: Readonly<Record<string, string>> = {
  "GPT-2": gpt2Pattern,
  "Llama 3": llama3Pattern,
  "Qwen 2": qwenPattern,
  "Qwen 3.5": `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${spaceTail}`,
  BLOOM: " ?[^(\\s|[.,!?…。，、।۔،])]+",
  o200k: `${casedWords("")}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${spaceTail}`,
  "Kimi K2": `[\\p{Han}]+|${casedWords(notHan)}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${spaceTail}`,
  SMILES: "(\\[[^\\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\\(|\\)|\\.|=|#|-|\\+|\\\\|\\/|:|~|@|\\?|>>?|\\*|\\$|\\%[0-9]{2}|[0-9])",
  "SuperBPE's digits": "(?=(\\d{3})+(?!\\d))",
  "DeepSeek V3":
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" +
    spaceTail,
  "DeepSeek V3's Chinese": "[一-龥\u3040-ゟ゠-ヿ]+",
  "DeepSeek LLM's letters": "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕ]+",
  "DeepSeek LLM's end": "\\s+$",
  "rarer scripts and properties": "\\p{Tibetan}+|\\p{Gothic}|\\p{Emoji}|\\p{Deseret}+|\\p{Dash}|\\p{XID_Continue}+",
};

const texts = [
  "Hello, I'M here: we'LL see 1234567 things & more!  \r\n\r\n  Ünïcödé naïve café\u0301 ½²",
  "这是一个测试。日本語のテキスト、カタカナ。한국어 텍스트 12345",
  "CC(=O)Oc1ccccc1C(=O)O.[Na+].[Cl-]C%12[C@@H](N)Br>>I$",
  "def f(x):\n\treturn x ** 2 # 3.14159e10\n\n\n    pass   ",
  "ǅ ſtraße ΣΊΣΥΦΟΣ İstanbul K \u0928\u093f\u0930\u094d 👩‍👩‍👧 𝄞𝔘 a\u2028b\u0085c\u00a0d",
  "བོད་ཡིག 𐌰𐌱 𐐀𐐁𐐂 😀1# ‐–— x_y",
  "12 123 1234 12345 123456 1234567 12345678901234567890",
  "",
  " ",
];

describe.each(Object.entries(published))("%s", (_, pattern) => {
  it("cuts as Oniguruma does", () => {
    const [want, got] = [rust(pattern), ours(pattern)];
    const scan = scannerFor(pattern);
    for (const text of texts) {
      expect(got(text)).toEqual(want(text));
      if (!scan) continue;
      const scanned: string[] = [];
      scan(text, (start, end) => scanned.push(text.slice(start, end)));
      expect(scanned).toEqual(want(text));
    }
  });
});

it("all ways of splitting, inverted or not, with matches that are empty", () => {
  const alphabet = fc.string({ unit: fc.constantFrom("a", "b", "1", "2", " ", "\n", "é", "𝄞"), maxLength: 10 });
  for (const pattern of ["\\d", "(?=(\\d{2})+(?!\\d))", "a*", "\\b", "^|$", ""])
    for (const behavior of splitBehaviors)
      for (const invert of [false, true]) {
        const [want, got] = [rust(pattern, behavior, invert), ours(pattern, behavior, invert)];
        fc.assert(
          fc.property(alphabet, (text) => {
            expect([pattern, behavior, invert, text, got(text)]).toEqual([pattern, behavior, invert, text, want(text)]);
          }),
          { numRuns: 30 },
        );
      }
});

const atom = fc.constantFrom(
  ...[
    "a",
    "b",
    "s",
    "é",
    "'",
    "\\d",
    "\\w",
    "\\s",
    "\\S",
    "\\W",
    "\\h",
    "\\D",
    ".",
    "\\N",
    "\\O",
    "\\R",
    "𝄞",
    " ",
    "\\r",
    "\\n",
    "1",
  ],
  ...[
    "\\p{L}",
    "\\p{Lu}",
    "\\p{N}",
    "\\p{P}",
    "\\p{Han}",
    "\\P{L}",
    "\\p{^L}",
    "\\p{M}",
    "\\p{Alphabetic}",
    "\\p{Hiragana}",
    "]",
  ],
  ...["[a-k]", "[^a-c]", "[\\p{L}\\p{M}]", "[^\\s\\p{L}\\p{N}]", "[[:alpha:]]", "[[:punct:]]", "[^[:space:]]", "[[:upper:]]"],
  ...[
    "[\\p{L}&&[^a-z]]",
    "[a-z&&[^aeiou]]",
    "[\\w]",
    "[^\\w]",
    "[^a-c[e-k]]",
    "[äÄs]",
    "\\x{1F600}",
    "[\\d&&[0-5]]",
    "[]a]",
    "[^]a]",
  ],
);
const quantifier = fc.constantFrom(
  ...["", "", "", "*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,3}", "{2,}", "{,2}"],
  "{1,2}?",
  "{2}+",
  "{2}?",
);
const assertion = fc.constantFrom(
  "\\b",
  "\\B",
  "^",
  "$",
  "\\A",
  "\\z",
  "\\Z",
  "(?=a)",
  "(?!\\S)",
  "(?<=a)",
  "(?<!\\w)",
  "(?<=ab|c)",
  "(?i)",
);
const { pattern } = fc.letrec<{ pattern: string; sequence: string; element: string }>((tie) => ({
  element: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    { weight: 8, arbitrary: fc.tuple(atom, quantifier).map((parts) => parts.join("")) },
    { weight: 2, arbitrary: assertion },
    {
      weight: 3,
      arbitrary: fc
        .tuple(fc.constantFrom("(?:", "(", "(?>", "(?i:", "(?m:"), tie("pattern"), quantifier)
        .map(([open, inner, times]) => `${open}a|${inner})${times}`),
    },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom("(?=", "(?!"), tie("pattern")).map(([open, inner]) => `${open}${inner})`) },
    { weight: 1, arbitrary: fc.constant("(a|s)\\1") },
  ),
  sequence: fc.array(tie("element"), { minLength: 1, maxLength: 3 }).map((elements) => elements.join("")),
  pattern: fc.array(tie("sequence"), { minLength: 1, maxLength: 2 }).map((sequences) => sequences.join("|")),
}));
const subject = fc
  .array(
    fc.constantFrom(
      ...["a", "b", "c", "s", "ſ", "K", "k", "é", "É", "'", "1", "12", "²", " ", "\n", "\r\n", "\r", "\t", "漢", "あ", "😀", "𝄞"],
      ...[
        "e\u0301",
        "_",
        "-",
        ".",
        "x",
        "A",
        "S",
        "٣",
        "Ω",
        "ω",
        "µ",
        "μ",
        "ı",
        "\u2028",
        "\u0085",
        "ǅ",
        "Ǆ",
        "ς",
        "σ",
        "Σ",
        "]",
      ],
    ),
    { minLength: 1, maxLength: 10 },
  )
  .map((parts) => parts.join(""));

it("patterns of all kinds match what Oniguruma matches", () => {
  fc.assert(
    fc.property(pattern, fc.array(subject, { minLength: 4, maxLength: 4 }), (source, subjects) => {
      let want: ReturnType<typeof rust>;
      try {
        want = rust(source);
      } catch {
        return; // Oniguruma refuses to repeat what reads nothing
      }
      const got = ours(source);
      for (const text of subjects) expect([source, text, got(text)]).toEqual([source, text, want(text)]);
    }),
    { numRuns: 300, seed: 7 },
  );
});

describe("what cannot be done", () => {
  it.each([
    ["\\X", /grapheme cluster/],
    ["(?~ab)", /absence function/],
    ["(a)\\g<1>", /subroutine/],
    ["(?(1)a|b)", /conditional/],
    ["\\p{Klingon}", /Klingon/],
    ["(", /cannot be used here/],
    ["(?:(?:(?:ab){1000}){1000}){1000}", /too long/],
    ["a".repeat(20_000), /more than 16384 characters/],
  ])("%s is refused", (source, message) => {
    expect(() => regexMatcher(source)).toThrow(
      expect.objectContaining({ code: "TOKENIZER", message: expect.stringMatching(message) }),
    );
  });

  it("a pattern that never comes to an end is stopped", () => {
    const found = () => ours("(?:a+)+$|(a|a)*b|(.*)*x")(`${"a".repeat(200)}!`);
    expect(found).toThrow(
      expect.objectContaining({ code: "TOKENIZER", message: expect.stringContaining("takes too long on a text of 201") }),
    );
    expect(ours("a+")("aab")).toEqual(["aa", "b"]);
  });

  it("long patterns are as good as short ones", () => {
    const letters = Array.from({ length: 2000 }, (_, i) => String.fromCharCode(0x4e00 + i));
    expect(ours(letters.join("|"))("一丁a")).toEqual(["一", "丁", "a"]);
    expect(ours(`(?i)${"aB".repeat(8000)}`)("Ab".repeat(8001))).toEqual(["Ab".repeat(8000), "Ab"]);
    expect(ours("[ab]".repeat(4000))("ab".repeat(2001))).toEqual(["ab".repeat(2000), "ab"]);
  });

  it("groups in each other are errors where they are too many", () => {
    for (const open of ["(", "(?=", "(?>"]) {
      expect(() => ours(`${open.repeat(4000)}a${")".repeat(4000)}`)).toThrow(/nests groups too deeply/);
      expect(ours(`${open.repeat(150)}a${")".repeat(150)}`)("aa")).toEqual(rust(`${open.repeat(150)}a${")".repeat(150)}`)("aa"));
    }
  });

  it("a long match does not fill the stack", () => {
    const long = "ab ".repeat(100_000);
    expect(ours("(?:a|b| )+")(long)).toEqual([long]);
    expect(ours("(?:[ab ])*?$")(long)).toEqual([long]);
  });
});

it("texts stand for themselves", () => {
  const found: [number, number][] = [];
  patternOf({ String: ".^$(" })("a.^$(.^$(x", (start, end) => found.push([start, end]));
  expect(found).toEqual([
    [1, 5],
    [5, 9],
  ]);
  expect(() => patternOf({})).toThrow(/neither a String nor a Regex/);
});
