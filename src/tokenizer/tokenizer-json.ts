/** `tokenizer.json`, the file of Hugging Face's tokenizers: the parts that are read here. */

import { z } from "zod";
import { TsumikiError } from "../errors.js";

const addedToken = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(false),
  special: z.boolean().default(false),
});

const stage = z.looseObject({ type: z.string() }).nullable().default(null);

const tokenizerJson = z.looseObject({
  added_tokens: z.array(addedToken).default([]),
  normalizer: stage,
  pre_tokenizer: stage,
  post_processor: stage,
  decoder: stage,
  model: z.looseObject({
    type: z.string().optional(),
    vocab: z.union([z.record(z.string(), z.int()), z.array(z.tuple([z.string(), z.number()]))]),
  }),
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
