/** Cutting a text, before it is normalized, into chunks that are encoded independently of each other. */

import type { Stage, TokenizerJson } from "../tokenizer-json.js";
import type { Normalizer } from "./normalizers.js";
import type { Cutter } from "./scanners.js";

/**
 * Where text is normalized, its pieces cannot be looked up in it; but the words of the text itself can, with what they became in the
 * end, where neither normalizer nor pre-tokenizer looks past a space. Undefined where that is not certain.
 */
export function chunkCutter(
  { normalizer, pre_tokenizer, added_tokens }: Pick<TokenizerJson, "normalizer" | "pre_tokenizer" | "added_tokens">,
  normalize: Normalizer | undefined,
): Cutter | undefined {
  if (normalizer === null || normalize === undefined || pre_tokenizer === null || !normalizesWithinWords(normalizer))
    return undefined;
  const seesSpace = added_tokens.some(
    ({ normalized, lstrip, rstrip, content }) => normalized && (lstrip || rstrip || /\s/.test(content)),
  );
  if (seesSpace) return undefined;
  const stages = pre_tokenizer.type === "Sequence" ? (pre_tokenizer.pretokenizers as Stage[]) : [pre_tokenizer];
  const [first] = stages;
  if (first && ["BertPreTokenizer", "Whitespace", "WhitespaceSplit"].includes(first.type)) return atSpaces;
  const splitsAtSpace = stages.length === 1 && first?.type === "Metaspace" && first.split !== false;
  // "first" looks at where in the text a word stands.
  return splitsAtSpace && first.prepend_scheme !== "first" ? beforeSpaces(normalize) : undefined;
}

const local = ["BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Nmt", "Precompiled"];

function normalizesWithinWords(stage: Stage): boolean {
  if (stage.type === "Sequence") return (stage.normalizers as Stage[]).every(normalizesWithinWords);
  // Runs of spaces become one: chunks end only before whole runs.
  const { Regex: pattern } = (stage.pattern ?? {}) as { Regex?: string };
  return local.includes(stage.type) || (stage.type === "Replace" && pattern === " {2,}");
}

/** What lies between spaces, line ends and tabs; these belong to no word. */
const atSpaces: Cutter = (text, visit) => {
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit !== 0x20 && unit !== 0x0a && unit !== 0x09) continue;
    if (at > start) visit(start, at);
    start = at + 1;
  }
  if (text.length > start) visit(start, text.length);
};

/**
 * Before the spaces that follow a letter or a sign and precede one, of ASCII or a Chinese character. Line ends and tabs are such spaces
 * where the normalizer makes spaces of them, as SentencePiece's do: so a line of a program is cut into words.
 */
function beforeSpaces(normalize: Normalizer): Cutter {
  const spaces = new Uint8Array(0x22); // of units up to 0x20
  for (const unit of [0x09, 0x0a, 0x0d, 0x20]) {
    const normalized = normalize({ text: `a${String.fromCharCode(unit)}b`, alignment: undefined }).text;
    spaces[unit] = normalized === "a b" ? 1 : 0;
  }
  return (text, visit) => {
    const { length } = text;
    let start = 0;
    for (let at = 0; at < length; at++) {
      if (text.charCodeAt(at) > 0x20) continue;
      const run = at;
      while (at < length && spaces[Math.min(text.charCodeAt(at), 0x21)] === 1) at++;
      if (run === 0 || run === at || at === length) continue;
      if (!isPlain(text.charCodeAt(run - 1)) || !isPlain(text.charCodeAt(at))) continue;
      visit(start, run);
      start = run;
    }
    if (length > start) visit(start, length);
  };
}

const isPlain = (unit: number): boolean => (unit > 0x20 && unit < 0x7f) || (unit >= 0x4e00 && unit <= 0x9fff);
