/** `tsumiki tokenizer`: training, encoding, decoding and comparing tokenizers. */

import { type Command, Option } from "commander";
import { wholeNumber } from "../numbers.js";

export function register(program: Command): void {
  const tokenizer = program.command("tokenizer").description("train, use and compare tokenizers");
  tokenizer
    .command("train")
    .description("learn a vocabulary from files; Python's tokenizers and transformers open the folder that it makes")
    .argument("<file...>", "texts, or rows as JSON Lines, JSON, CSV, Parquet; plain, .gz or .zst; folders and globs")
    .addOption(new Option("--model <name>", "what is learned (default: the preset's)").choices(["bpe", "wordpiece", "unigram"]))
    .addOption(
      new Option("--preset <name>", "normalizer, pre-tokenizer and special tokens of a well-known tokenizer").choices([
        "gpt2",
        "llama3",
        "qwen",
        "bert",
        "t5",
        "minimind",
      ]),
    )
    .option("--vocab-size <number>", "tokens in all, special ones included (default: the preset's)", wholeNumber)
    .requiredOption("--out <folder>", "where tokenizer.json and tokenizer_config.json are written")
    .option("--overwrite", "replace the tokenizer that is there")
    .option("--special <token...>", "special tokens, instead of the preset's")
    .addOption(new Option("--level <name>", "bpe: what the alphabet is").choices(["byte", "character"]))
    .addOption(new Option("--by <name>", "wordpiece: what is merged next").choices(["frequency", "likelihood"]))
    .option("--min-frequency <number>", "bpe, wordpiece: the least occurrences of a pair that is merged", wholeNumber)
    .option("--limit-alphabet <number>", "the most characters of the alphabet", wholeNumber)
    .option("--threads <number>", "threads that count words (default: one for each core)", wholeNumber)
    .option("--max-words <number>", "distinct words that are kept in memory (default: 8,388,608)", wholeNumber)
    .addOption(
      new Option("--on-bad-row <action>", "what to do with rows that cannot be read").choices(["stop", "skip"]).default("stop"),
    )
    .option("--text-field <name>", "rows: the field that has the text (default: recognized)")
    .action(async (files: string[], flags) => (await import("../tokenizer/train.js")).trainCommand(files, flags));
  tokenizer
    .command("encode")
    .description("encode each line of a text as a JSON array of ids")
    .argument("<folder>", "a folder with a tokenizer.json")
    .argument("[file]", "UTF-8 text (default: standard input)")
    .option("--special", "add what the tokenizer puts around texts, such as [CLS] and [SEP]")
    .option("--split-special", "encode the spelling of special tokens as text")
    .option("--pieces", "show the pieces in colour instead of ids")
    .action(async (folder: string, file: string | undefined, flags) =>
      (await import("../tokenizer/lines.js")).encodeCommand(folder, file, flags),
    );
  tokenizer
    .command("decode")
    .description("decode each line, a JSON array of ids, as text")
    .argument("<folder>", "a folder with a tokenizer.json")
    .argument("[file]", "lines with a JSON array of ids each (default: standard input)")
    .option("--skip-special", "leave special tokens out")
    .option("--pieces", "show the pieces in colour instead of the text")
    .action(async (folder: string, file: string | undefined, flags) =>
      (await import("../tokenizer/lines.js")).decodeCommand(folder, file, flags),
    );
  tokenizer
    .command("compare")
    .description("compare two tokenizers on the same texts: bytes per token, use of the vocabulary, speed")
    .argument("<folder>", "a folder with a tokenizer.json")
    .argument("<other>", "another one")
    .argument("<file...>", "texts, as for tokenizer train")
    .option("--json", "print one JSON object instead of a table")
    .action(async (first: string, second: string, files: string[], flags) =>
      (await import("../tokenizer/compare.js")).compareCommand([first, second], files, flags),
    );
}
