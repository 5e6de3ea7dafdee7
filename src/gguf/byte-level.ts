/** Byte-level BPE: what of a `tokenizer.json` a GGUF file holds, and the other way round. */

import { TsumikiError } from "../errors.js";
import { gpt2Pattern, llama3Pattern, qwenPattern } from "../tokenizer/pipeline/scanners.js";
import type { Stage, TokenizerJson } from "../tokenizer/tokenizer-json.js";
import { type GgufTokenizer, tokenTypes } from "./gguf-tokenizer.js";
import { partsOf } from "./sentencepiece.js";

/**
 * How a text is split into words before it is tokenized: llama.cpp knows these by name, `tokenizer.json` by expressions, each of
 * which splits what the ones before it left whole (https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp).
 */
const splits: Readonly<Record<string, readonly string[]>> = {
  "gpt-2": [gpt2Pattern],
  "llama-bpe": [llama3Pattern],
  qwen2: [qwenPattern],
  smollm: ["\\p{N}", gpt2Pattern],
  // Also of files that name none.
  default: ["[\\p{P}\\$\\+<=>\\^~\\|]+", gpt2Pattern, "\\p{N}+", "[0-9][0-9][0-9]"],
};

/** Other models' names of the same ways. */
const alsoCalled: Readonly<Record<string, string>> = {
  ...{ llama3: "llama-bpe", "llama-v3": "llama-bpe", falcon3: "llama-bpe" },
  ...{ "deepseek-r1-qwen": "qwen2", stablelm2: "qwen2" },
  ...{ mpt: "gpt-2", olmo: "gpt-2", "phi-2": "gpt-2" },
  ...{ starcoder: "smollm", refact: "smollm", "command-r": "smollm" },
};

/** The name here of a way to split that a file names, or does not. */
export const splitCalled = (name = "default"): string => (Object.hasOwn(alsoCalled, name) ? (alsoCalled[name] as string) : name);

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
  // Composed characters are what texts have anyway; llama.cpp leaves the others as they are.
  if (json.normalizer !== null && json.normalizer.type !== "NFC")
    throw notByteLevel(`it normalizes texts by ${json.normalizer.type}`);
  const pre = splitName(json.pre_tokenizer);
  return { model: "gpt2", pre, merges: (merges ?? []).map((merge) => (typeof merge === "string" ? merge : merge.join(" "))) };
}

function splitName(preTokenizer: Stage | null): string {
  const stages = partsOf(preTokenizer, "pretokenizers");
  const byteLevel = stages.at(-1);
  if (byteLevel?.type !== "ByteLevel") throw notByteLevel("it does not go by bytes");
  if (byteLevel.add_prefix_space !== false) throw notByteLevel("it puts a space before each text, which llama.cpp does not");
  const patterns = [...stages.slice(0, -1).map(patternOf), ...(byteLevel.use_regex === false ? [] : [gpt2Pattern])];
  const name = Object.keys(splits).find((known) => String(splits[known]) === String(patterns));
  if (name !== undefined) return name;
  throw notByteLevel(`it splits texts in a way that llama.cpp has no name for; known are ${Object.keys(splits).join(", ")}`);
}

/** The expression by which a stage splits; undefined for other stages. */
function patternOf({ type, pattern, behavior, invert, individual_digits: individual }: Stage): string | undefined {
  if (type === "Digits") return individual === true ? "\\p{N}" : "\\p{N}+";
  if (type !== "Split" || behavior !== "Isolated" || invert === true) return undefined;
  return (pattern as { Regex?: string } | undefined)?.Regex;
}

const notByteLevel = (why: string): TsumikiError =>
  new TsumikiError(
    "TOKENIZER",
    `This tokenizer cannot be written as GGUF: ${why}. Byte-level BPE can, as GPT-2, Llama 3 and Qwen 2 have it, SentencePiece's ` +
      "BPE with bytes, as Llama 2 and Gemma have it, and its Unigram, as T5 has it.",
  );

/**
 * The parts of a `tokenizer.json` that a file says.
 *
 * @throws TsumikiError TOKENIZER for a split that is not known
 */
export function byteLevelJson({ pre, tokens, types, merges }: GgufTokenizer, source: string): object {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  const patterns = Object.hasOwn(splits, pre) ? splits[pre] : undefined;
  if (!patterns)
    throw new TsumikiError(
      "TOKENIZER",
      `${source} splits texts as ${JSON.stringify(pre)}; known are ${Object.keys(splits).join(", ")}.`,
    );
  const byRegex = patterns.at(-1) === gpt2Pattern;
  const before = (byRegex ? patterns.slice(0, -1) : patterns).map((pattern) => ({
    ...{ type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
  }));
  const last = { ...byteLevel, use_regex: byRegex };
  return {
    normalizer: null,
    pre_tokenizer: before.length === 0 ? last : { type: "Sequence", pretokenizers: [...before, last] },
    decoder: { ...byteLevel, use_regex: true },
    model: {
      ...{ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: pre === "llama-bpe" },
      vocab: Object.fromEntries(tokens.flatMap((token, id) => (types[id] === tokenTypes.unused ? [] : [[token, id]]))),
      merges: [...merges],
    },
  };
}
