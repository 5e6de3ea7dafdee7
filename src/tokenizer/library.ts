/** `@huggingface/tokenizers`, which encodes and decodes, and where it has to be told what Rust's `tokenizers` does. */

import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { TsumikiError } from "../errors.js";
import { gpt2Pattern } from "./pretokenize.js";
import type { TokenizerConfig } from "./tokenizer.js";
import type { Stage, TokenizerJson } from "./tokenizer-json.js";

const models = ["BPE", "WordPiece", "Unigram"];

export function libraryTokenizer(json: TokenizerJson, config: TokenizerConfig): LibraryTokenizer {
  const { type } = json.model; // absent in old files, whose model the library infers; of a name it does not know it makes a guess
  if (type !== undefined && !models.includes(type))
    throw new TsumikiError(
      "TOKENIZER",
      `This tokenizer.json has a model of type ${type}, but only ${models.join(", ")} can be used here.`,
    );
  const pre_tokenizer = json.pre_tokenizer && withUnicodeWhiteSpace(json.pre_tokenizer);
  try {
    // The library cleans up spaces unless it is told not to, which would change the text of a byte-level tokenizer.
    return new LibraryTokenizer({ ...json, pre_tokenizer }, { clean_up_tokenization_spaces: false, ...config });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TsumikiError("TOKENIZER", `This tokenizer.json cannot be used here: ${reason}`, { cause });
  }
}

/** A byte-level pre-tokenizer that cuts with GPT-2's own pattern. */
export const splitsLikeGpt2 = (stage: Stage): boolean =>
  stage.type === "ByteLevel" && stage.use_regex !== false && stage.add_prefix_space === false;

/**
 * The library's ByteLevel cuts with JavaScript's `\s` (version 0.2), Rust's with Unicode's white space: around U+FEFF and U+0085 the ids
 * would differ. Its Split has Unicode's, so the cutting is written as a Split before the ByteLevel.
 */
function withUnicodeWhiteSpace(stage: Stage): Stage {
  if (stage.type === "Sequence") return { ...stage, pretokenizers: (stage.pretokenizers as Stage[]).map(withUnicodeWhiteSpace) };
  if (!splitsLikeGpt2(stage)) return stage;
  const split = { type: "Split", pattern: { Regex: gpt2Pattern.source }, behavior: "Isolated", invert: false };
  return { type: "Sequence", pretokenizers: [split, { ...stage, use_regex: false }] };
}
