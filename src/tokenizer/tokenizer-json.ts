/** `tokenizer.json`, the file of Hugging Face's tokenizers: the parts that are read here. */

import { z } from "zod";
import { TsumikiError } from "../errors.js";

/** Ids are kept as int32. */
export const largestId = 2 ** 31 - 1;

export const isTokenId = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= largestId;

const addedToken = z.looseObject({
  id: z.int().nonnegative().max(largestId),
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(false),
  special: z.boolean().default(false),
});

const stage = z.looseObject({ type: z.string() }).nullable().default(null);

export type TokenIds = Readonly<Record<string, number>>;
export type ScoredTokens = readonly (readonly [token: string, score: number])[];

/** Checked in place: zod copies objects key by key, which loses a token "__proto__" and takes seconds for large vocabularies. */
const vocabulary = z.unknown().transform((vocab, context): TokenIds | ScoredTokens => {
  const fault = Array.isArray(vocab) ? faultOfScores(vocab) : faultOfIds(vocab);
  if (fault === undefined) return vocab as TokenIds | ScoredTokens;
  context.addIssue({ code: "custom", message: fault });
  return z.NEVER;
});

const tokenizerJson = z.looseObject({
  added_tokens: z.array(addedToken).default([]),
  normalizer: stage,
  pre_tokenizer: stage,
  post_processor: stage,
  decoder: stage,
  model: z.looseObject({ type: z.string().optional(), vocab: vocabulary }),
});

export type TokenizerJson = z.infer<typeof tokenizerJson>;
export type AddedToken = z.infer<typeof addedToken>;
/** Normalizer, pre-tokenizer, post-processor or decoder: a `type` and its options. */
export type Stage = NonNullable<z.infer<typeof stage>>;

/** Checks that `value` is a `tokenizer.json`; `source` is named when it is not. */
export function parseTokenizerJson(value: unknown, source: string): TokenizerJson {
  const result = tokenizerJson.safeParse(value);
  if (result.success) return result.data;
  throw new TsumikiError(
    "TOKENIZER",
    `${source} is not a tokenizer.json of Hugging Face's tokenizers:\n${z.prettifyError(result.error)}`,
  );
}

/** What is wrong with a vocabulary of `token: id`; undefined where nothing is. */
function faultOfIds(vocab: unknown): string | undefined {
  if (typeof vocab !== "object" || vocab === null) return "expected an object of token: id, or a list of [token, score]";
  for (const [token, id] of Object.entries(vocab))
    if (!isTokenId(id))
      return `the id of ${JSON.stringify(token)} is ${JSON.stringify(id)}, but ids are whole numbers from 0 to ${largestId}`;
  return undefined;
}

function faultOfScores(vocab: readonly unknown[]): string | undefined {
  const at = vocab.findIndex(
    (entry) =>
      !Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== "string" || !Number.isFinite(entry[1] as unknown),
  );
  return at < 0 ? undefined : `entry ${at} is ${JSON.stringify(vocab[at])}, but each is [token, score]`;
}
