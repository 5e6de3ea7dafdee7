/** Byte-level BPE: what of a `tokenizer.json` a GGUF file holds, and the other way round. */

import { TsumikiError } from "../errors.js";
import type { TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { type GgufTokenizer, tokenTypes } from "./gguf-tokenizer.js";

/** How a text is split into words before it is tokenized: llama.cpp knows these by name, `tokenizer.json` by expression. */
const splits: Readonly<Record<string, string>> = {
  "llama-bpe":
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  qwen2:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

interface ByteLevelStage {
  readonly type: string;
  readonly add_prefix_space?: boolean;
  readonly use_regex?: boolean;
  readonly pretokenizers?: readonly ByteLevelStage[];
  readonly pattern?: { readonly Regex?: string };
}

/**
 * What a file holds of it besides what it holds of every tokenizer.
 *
 * @throws TsumikiError TOKENIZER for one that is not byte-level BPE with a split that llama.cpp knows
 */
export function byteLevelOf(json: TokenizerJson): Pick<GgufTokenizer, "model" | "pre" | "merges"> {
  const { vocab, merges, type } = json.model as unknown as {
    vocab: object;
    merges?: readonly (string | readonly string[])[];
    type?: string;
  };
  if ((type !== undefined && type !== "BPE") || Array.isArray(vocab)) throw notByteLevel("its model is not BPE");
  const pre = splitName(json.pre_tokenizer as ByteLevelStage | null);
  return { model: "gpt2", pre, merges: (merges ?? []).map((merge) => (typeof merge === "string" ? merge : merge.join(" "))) };
}

function splitName(stage: ByteLevelStage | null): string {
  const stages = stage?.type === "Sequence" ? (stage.pretokenizers ?? []) : stage ? [stage] : [];
  const byteLevel = stages.at(-1);
  if (byteLevel?.type !== "ByteLevel") throw notByteLevel("it does not go by bytes");
  if (byteLevel.add_prefix_space) throw notByteLevel("it puts a space before each text, which llama.cpp does not");
  if (stages.length === 1 && byteLevel.use_regex !== false) return "gpt-2";
  const pattern = stages.length === 2 && stages[0]?.type === "Split" ? stages[0].pattern?.Regex : undefined;
  const name = Object.keys(splits).find((known) => splits[known] === pattern);
  if (name !== undefined && byteLevel.use_regex === false) return name;
  throw notByteLevel(
    `it splits texts in a way that llama.cpp has no name for; it has for those of GPT-2, ${Object.keys(splits).join(", ")}`,
  );
}

const notByteLevel = (why: string): TsumikiError =>
  new TsumikiError(
    "TOKENIZER",
    `This tokenizer cannot be written as GGUF: ${why}. Byte-level BPE can, as GPT-2, Llama 3 and Qwen 2 have it, and SentencePiece's BPE with bytes, as Llama 2 and Gemma have it.`,
  );

/**
 * The parts of a `tokenizer.json` that a file says.
 *
 * @throws TsumikiError TOKENIZER for a split that is not known
 */
export function byteLevelJson({ pre, tokens, types, merges }: GgufTokenizer, source: string): object {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  const pattern = splits[pre];
  if (pre !== "gpt-2" && pre !== "default" && pattern === undefined)
    throw new TsumikiError(
      "TOKENIZER",
      `${source} splits texts as ${JSON.stringify(pre)}; known are gpt-2, ${Object.keys(splits).join(", ")}.`,
    );
  return {
    normalizer: null,
    pre_tokenizer: pattern
      ? {
          type: "Sequence",
          pretokenizers: [
            { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
            { ...byteLevel, use_regex: false },
          ],
        }
      : { ...byteLevel, use_regex: true },
    decoder: { ...byteLevel, use_regex: true },
    model: {
      ...{ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: pre === "llama-bpe" },
      vocab: Object.fromEntries(tokens.flatMap((token, id) => (types[id] === tokenTypes.unused ? [] : [[token, id]]))),
      merges: [...merges],
    },
  };
}
