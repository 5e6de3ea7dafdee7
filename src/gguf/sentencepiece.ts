/**
 * BPE as SentencePiece has it, with bytes for what is not in the vocabulary (Llama 2, Mistral, Gemma): llama.cpp calls it "llama".
 * A file holds no merges but a score for each token. Whatever two neighbours make a token together are merged, the highest score
 * first; in `tokenizer.json` all these pairs are listed.
 */

import { TsumikiError } from "../errors.js";
import type { Stage, TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { type GgufTokenizer, tokenTypes } from "./gguf-tokenizer.js";

const space = "▁";
const byteToken = /^<0x[0-9A-F]{2}>$/;

interface BytePairs {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges?: readonly (string | readonly [string, string])[];
  readonly byte_fallback?: boolean;
  readonly unk_token?: string | null;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
}

const bytePairs = (json: TokenizerJson): BytePairs => json.model as unknown as BytePairs;

/** Whether this is one of them: BPE that falls back to bytes. */
export const isSentencePiece = (json: TokenizerJson): boolean => bytePairs(json).byte_fallback === true;

/** What a file holds of it besides what it holds of every tokenizer. */
export function sentencePieceOf(
  json: TokenizerJson,
  tokenCount: number,
): Pick<GgufTokenizer, "model" | "merges" | "scores" | "spacePrefix"> & { readonly byteIds: readonly number[] } {
  const { vocab } = bytePairs(json);
  const spacePrefix = prefixOf(json);
  const order = tokensInOrder(bytePairs(json));
  const scores = new Array<number>(tokenCount).fill(-order.length);
  for (const [rank, token] of order.entries()) scores[vocab[token] as number] = -rank;
  const byteIds = Object.entries(vocab).flatMap(([token, id]) => (byteToken.test(token) ? [id] : []));
  return { model: "llama", merges: [], scores, spacePrefix, byteIds };
}

/**
 * The tokens that merges make, in the order of their merges.
 *
 * @throws TsumikiError TOKENIZER where scores of tokens cannot say what the merges say
 */
function tokensInOrder({ vocab, merges = [], continuing_subword_prefix, end_of_word_suffix }: BytePairs): readonly string[] {
  if (continuing_subword_prefix || end_of_word_suffix) throw notSentencePiece("it marks the inside or the end of words");
  const pairs = merges.map((merge) => (typeof merge === "string" ? (merge.split(" ") as [string, string]) : merge));
  const order: string[] = [];
  const counts = new Map<string, number>();
  for (const [left, right] of pairs) {
    const token = left + right;
    if (order.at(-1) !== token) {
      if (counts.has(token)) throw notSentencePiece(`its merges to ${JSON.stringify(token)} have others between them`);
      order.push(token);
    }
    counts.set(token, (counts.get(token) ?? 0) + 1);
  }
  for (const token of order)
    if (splitsOf(token, vocab).length !== counts.get(token))
      throw notSentencePiece(`not all pairs of tokens that make ${JSON.stringify(token)} are among its merges`);
  return order;
}

/** The pairs of tokens that make this one together. */
function splitsOf(token: string, vocab: Readonly<Record<string, number>>): readonly (readonly [string, string])[] {
  const characters = [...token];
  return characters.slice(1).flatMap((_, i) => {
    const pair = [characters.slice(0, i + 1).join(""), characters.slice(i + 1).join("")] as const;
    return pair.every((part) => Object.hasOwn(vocab, part)) ? [pair] : [];
  });
}

/** Whether a text begins as if a space were before it. Throws where spaces become something else than ▁. */
function prefixOf(json: TokenizerJson): boolean {
  const stages = partsOf(json.normalizer, "normalizers");
  const replaces = stages.some(
    ({ type, pattern, content }) =>
      type === "Replace" && (pattern as { String?: string } | undefined)?.String === " " && content === space,
  );
  const prepends = stages.some(({ type, prepend }) => type === "Prepend" && prepend === space);
  const pre = json.pre_tokenizer;
  const known = stages.every(({ type }) => type === "Replace" || type === "Prepend") && stages.length === +replaces + +prepends;
  // Gemma's is left from when spaces were still there.
  const idle = pre === null || (pre.type === "Split" && (pre.pattern as { String?: string } | undefined)?.String === " ");
  if (known && replaces && idle) return prepends;
  const { replacement, prepend_scheme: scheme, split } = pre ?? ({} as Partial<Stage>);
  if (stages.length === 0 && pre?.type === "Metaspace" && replacement === space && split === false) {
    if (scheme === "first")
      throw new TsumikiError(
        "TOKENIZER",
        'This tokenizer cannot be written as GGUF: its prepend_scheme is "first", a space before the text alone, but llama.cpp puts ' +
          'one behind every special token too. Where that is meant, set it to "always" in tokenizer.json; to have none, to "never".',
      );
    return scheme !== "never";
  }
  throw notSentencePiece("its texts are normalized or split in another way");
}

/** The stages of a sequence, or the one that there is. */
export const partsOf = (stage: Stage | null, list: "normalizers" | "pretokenizers"): readonly Stage[] =>
  stage === null ? [] : stage.type === "Sequence" ? (stage[list] as readonly Stage[]) : [stage];

const notSentencePiece = (why: string): TsumikiError =>
  new TsumikiError(
    "TOKENIZER",
    `This tokenizer cannot be written as GGUF: it is BPE with bytes for what it does not know, but unlike SentencePiece's ${why}.`,
  );

/** The parts of a `tokenizer.json` that a file's tokens and scores say. */
export function sentencePieceJson({ tokens, types, scores = [], unknownId, spacePrefix }: GgufTokenizer): object {
  const vocab = Object.fromEntries(
    tokens.flatMap((token, id) => (types[id] === tokenTypes.unused ? [] : [[token, id] as const])),
  );
  const byScore = tokens
    .flatMap((token, id) => (types[id] === tokenTypes.normal ? [{ token, score: scores[id] ?? 0 }] : []))
    .toSorted((a, b) => b.score - a.score);
  const toMarks = { type: "Replace", pattern: { String: " " }, content: space };
  const toSpaces = { type: "Replace", pattern: { String: space }, content: " " };
  const decoders = [toSpaces, { type: "ByteFallback" }, { type: "Fuse" }];
  return {
    normalizer: { type: "Sequence", normalizers: spacePrefix ? [{ type: "Prepend", prepend: space }, toMarks] : [toMarks] },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: spacePrefix ? [...decoders, { type: "Strip", content: " ", start: 1, stop: 0 }] : decoders,
    },
    model: {
      ...{ type: "BPE", dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: true },
      ...{ unk_token: unknownId === undefined ? null : tokens[unknownId], ignore_merges: false },
      byte_fallback: types.includes(tokenTypes.byte),
      vocab,
      // Longer left parts first, as in transformers' own conversion.
      merges: byScore.flatMap(({ token }) => splitsOf(token, vocab).toReversed()),
    },
  };
}
