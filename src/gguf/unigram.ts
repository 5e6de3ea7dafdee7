/**
 * SentencePiece's Unigram (Kudo 2018), as T5 has it: llama.cpp calls it "t5". A text is rewritten by the rules that SentencePiece
 * compiled into the model, spaces become ▁, and the most probable tokens win.
 */

import { TsumikiError } from "../errors.js";
import type { Stage, TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { type GgufTokenizer, tokenTypes } from "./gguf-tokenizer.js";
import { partsOf } from "./sentencepiece.js";

const space = "▁";

interface UnigramVocabulary {
  readonly vocab: readonly (readonly [token: string, logProbability: number])[];
  readonly byte_fallback?: boolean;
}

export const isUnigram = (json: TokenizerJson): boolean => Array.isArray(json.model.vocab);

/** Below all others: tokens that only fill the vocabulary up are found in texts too. */
const neverScore = -1e9;

/**
 * What a file holds of it besides what it holds of every tokenizer.
 *
 * @throws TsumikiError TOKENIZER for one that treats texts otherwise than llama.cpp does
 */
export function unigramOf(
  json: TokenizerJson,
  tokenCount: number,
): Pick<GgufTokenizer, "model" | "merges" | "scores" | "spacePrefix" | "mergesSpaces" | "charsmap"> {
  const { vocab, byte_fallback: byBytes } = json.model as unknown as UnigramVocabulary;
  if (byBytes) throw notUnigram("it has bytes for what it does not know, which llama.cpp's has not");
  const treatment = textTreatment(json);
  if (treatment.mergesSpaces && vocab.some(([token]) => /[^▁]▁/.test(token)))
    throw notUnigram("some of its tokens reach over spaces, at which it splits texts");
  const added = new Set(json.added_tokens.map(({ id }) => id));
  const scores = Array.from({ length: tokenCount }, (_, id) => vocab[id]?.[1] ?? (added.has(id) ? 0 : neverScore));
  return { model: "t5", merges: [], scores, ...treatment };
}

/** How texts are rewritten before they are tokenized. */
function textTreatment(json: TokenizerJson): Pick<GgufTokenizer, "spacePrefix" | "mergesSpaces" | "charsmap"> {
  const stages = partsOf(json.normalizer, "normalizers");
  const charsmap = stages[0]?.type === "Precompiled" ? fromBase64(stages[0].precompiled_charsmap) : undefined;
  const normalizers = signatures(charsmap ? stages.slice(1) : stages);
  const preTokenizers = signatures(partsOf(json.pre_tokenizer, "pretokenizers"));
  const rules = charsmap ? { charsmap } : {};
  // Without rules that turn them into spaces, line breaks would be cut away there and unknown characters here.
  if (charsmap && merging.some((way) => way.normalizers === normalizers && way.preTokenizers === preTokenizers))
    return { ...rules, mergesSpaces: true, spacePrefix: true };
  if (preTokenizers === "" && normalizers === signatures([toMarks])) return { ...rules, mergesSpaces: false, spacePrefix: false };
  if (preTokenizers === "" && normalizers === signatures([prefix, toMarks]))
    return { ...rules, mergesSpaces: false, spacePrefix: true };
  throw notUnigram(
    "its texts are rewritten or split in another way than by SentencePiece's own rules (Precompiled) and at spaces, of which " +
      "several count as one",
  );
}

const metaspace: Stage = { type: "Metaspace", replacement: space, prepend_scheme: "always", split: true };
const toMarks: Stage = { type: "Replace", pattern: { String: " " }, content: space };
const prefix: Stage = { type: "Prepend", prepend: space };
/** As transformers' conversions have it. */
const mergeSpaces: readonly Stage[] = [
  { type: "Strip", strip_left: false, strip_right: true },
  { type: "Replace", pattern: { Regex: " {2,}" }, content: space },
];

/** What of stages matters, in an order of its own. */
const signatures = (stages: readonly Stage[]): string => stages.map(signature).join();

const signature = ({ type, ...options }: Stage): string =>
  JSON.stringify([type, ...Object.entries(type === "Metaspace" ? metaspaceOptions(options) : options).sort()]);

/** Older releases say less of it, and in other words. */
const metaspaceOptions = ({ replacement, prepend_scheme, add_prefix_space, split }: Record<string, unknown>) => ({
  replacement,
  prepend_scheme: prepend_scheme ?? (add_prefix_space === false ? "never" : "always"),
  split: split ?? true,
});

/** Ways to say that several spaces count as one, and those around a text as none. */
const merging = [
  { normalizers: signatures(mergeSpaces), preTokenizers: signatures([metaspace]) },
  { normalizers: "", preTokenizers: signatures([{ type: "WhitespaceSplit" }, metaspace]) },
];

const fromBase64 = (text: unknown): Uint8Array => Uint8Array.from(atob(String(text)), (character) => character.charCodeAt(0));
const toBase64 = (bytes: Uint8Array): string => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

const notUnigram = (why: string): TsumikiError =>
  new TsumikiError("TOKENIZER", `This Unigram tokenizer cannot be written as GGUF: ${why}.`);

/** The parts of a `tokenizer.json` that a file says. */
export function unigramJson({
  tokens,
  types,
  scores = [],
  unknownId,
  spacePrefix,
  mergesSpaces,
  charsmap,
}: GgufTokenizer): object {
  const rules = charsmap?.length ? [{ type: "Precompiled", precompiled_charsmap: toBase64(charsmap) }] : [];
  const marks = spacePrefix ? [prefix, toMarks] : [toMarks];
  const toSpaces = [{ type: "Replace", pattern: { String: space }, content: " " }, { type: "Fuse" }];
  const used = tokens.length - [...types].reverse().findIndex((type) => type !== tokenTypes.unused);
  return {
    normalizer: { type: "Sequence", normalizers: [...rules, ...(mergesSpaces ? mergeSpaces : marks)] },
    pre_tokenizer: mergesSpaces ? metaspace : null,
    decoder: mergesSpaces
      ? metaspace
      : {
          type: "Sequence",
          decoders: [...toSpaces, ...(spacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [])],
        },
    model: {
      ...{ type: "Unigram", unk_id: unknownId ?? null, byte_fallback: false },
      vocab: tokens.slice(0, used).map((token, id) => [token, scores[id] ?? 0]),
    },
  };
}
