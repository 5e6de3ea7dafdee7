/** Cutting a text, before it is normalized, into chunks that are encoded independently of each other. */

import type { Stage, TokenizerJson } from "../tokenizer-json.js";
import type { Cutter } from "./scanners.js";

/**
 * Where text is normalized, its pieces cannot be looked up in it; but the words of the text itself can, with what they became in the
 * end, where neither normalizer nor pre-tokenizer looks past a space. Undefined where that is not certain.
 */
export function chunkCutter({
  normalizer,
  pre_tokenizer,
  added_tokens,
}: Pick<TokenizerJson, "normalizer" | "pre_tokenizer" | "added_tokens">): Cutter | undefined {
  if (normalizer === null || pre_tokenizer === null || !normalizesWithinWords(normalizer)) return undefined;
  const seesSpace = added_tokens.some(
    ({ normalized, lstrip, rstrip, content }) => normalized && (lstrip || rstrip || /\s/.test(content)),
  );
  if (seesSpace) return undefined;
  const stages = pre_tokenizer.type === "Sequence" ? (pre_tokenizer.pretokenizers as Stage[]) : [pre_tokenizer];
  const [first] = stages;
  if (first && ["BertPreTokenizer", "Whitespace", "WhitespaceSplit"].includes(first.type)) return atSpaces;
  const splitsAtSpace = stages.length === 1 && first?.type === "Metaspace" && first.split !== false;
  // "first" looks at where in the text a word stands.
  return splitsAtSpace && first.prepend_scheme !== "first" ? beforeSingleSpaces : undefined;
}

const local = ["BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Nmt", "Precompiled"];

function normalizesWithinWords(stage: Stage): boolean {
  if (stage.type === "Sequence") return (stage.normalizers as Stage[]).every(normalizesWithinWords);
  // Runs of spaces become one: chunks end only before a single space.
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

/** Before a space that follows a letter or a sign and precedes one, of ASCII or a Chinese character. */
const beforeSingleSpaces: Cutter = (text, visit) => {
  let start = 0;
  for (let at = text.indexOf(" ", 1); at !== -1; at = text.indexOf(" ", at + 1)) {
    if (!isPlain(text.charCodeAt(at - 1)) || !isPlain(text.charCodeAt(at + 1))) continue;
    visit(start, at);
    start = at;
  }
  if (text.length > start) visit(start, text.length);
};

const isPlain = (unit: number): boolean => (unit > 0x20 && unit < 0x7f) || (unit >= 0x4e00 && unit <= 0x9fff);
