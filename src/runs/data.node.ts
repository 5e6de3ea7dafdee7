/** The data that a recipe asks for: found, read, encoded, packed (Node). */

import { join } from "node:path";
import { badRowError } from "../data/bad-rows.js";
import type { CorpusName } from "../data/corpora.js";
import type { TextExample } from "../data/example.js";
import { type FileDataset, readExamples } from "../data/examples.node.js";
import { decisiveSettings, type Filter, filtered } from "../data/filters/filter.js";
import { c4, exactDuplicates, gopherQuality, gopherRepetition, lengthFilter, nearDuplicates } from "../data/filters/index.js";
import { describeReading, nothingLeftOut, type ReadingReport, renamedFiles } from "../data/reading-report.js";
import { cacheFolder, corpusBytesFromNpm, corpusPath, trainingFileOf } from "../data/sources.node.js";
import { cachedTokens, contentHash } from "../data/tokens/token-cache.node.js";
import type { TokenDocuments } from "../data/tokens/token-documents.js";
import { TsumikiError } from "../errors.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { Reporter } from "../train/reporter.js";
import type { Recipe } from "./recipe.js";

/** What ends each document where there are several. */
export const endOfText = "<|endoftext|>";

/** The texts of a recipe, which can be read more than once. */
export interface RunTexts {
  read(): AsyncIterable<TextExample>;
  /** Their text alone, in the pieces in which it is read. */
  pieces(): AsyncIterable<string>;
  /** By which changed data is noticed: a hash of the files and of what is done with them. */
  readonly sha256: string;
  /** Whether there may be more than one document. */
  readonly several: boolean;
  /** What was left out in the latest reading. */
  report(): ReadingReport;
  /** Files that lie in the folders and were not read, since their endings are not known. */
  readonly ignored: readonly string[];
  /** What the files are read as, which decides besides their content what is read. */
  readonly kinds: readonly string[];
  readonly progress: FileDataset<unknown>["progress"];
}

async function corpusFile(corpus: CorpusName, rows: "training" | "all", signal: AbortSignal | undefined): Promise<string> {
  const stoppable = signal ? { signal } : {};
  if (rows === "training") return trainingFileOf(corpus, stoppable);
  await corpusBytesFromNpm(corpus, stoppable);
  return corpusPath(corpus);
}

/** @throws TsumikiError DATA where there is nothing to read, NETWORK where a corpus cannot be fetched */
export async function textsOf({ data }: Recipe, signal?: AbortSignal): Promise<RunTexts> {
  const { corpus, corpusRows = "training", files = [], textField, onBadRow, filters = [] } = data;
  const source = await readExamples(corpus === undefined ? files : await corpusFile(corpus, corpusRows, signal), {
    ...(textField === undefined ? {} : { textField }),
    ...(onBadRow === undefined ? {} : { onBadRow }),
  });
  const paths = source.files.map(({ path }) => path);
  const asked = filters.map(filterOf);
  const kept = filtered(source, asked);
  const read = async function* (): AsyncGenerator<TextExample> {
    for await (const example of kept) {
      if (example.kind !== "text")
        throw new TsumikiError(
          "DATA",
          `${paths.join(", ")} holds examples of the kind "${example.kind}", and this training learns from plain texts. ` +
            "Where a field holds the text, name it with --text-field (data.textField).",
        );
      if (signal?.aborted) throw new TsumikiError("ABORTED", "Reading the data was stopped.");
      yield example;
    }
  };
  return {
    read,
    async *pieces() {
      for await (const { text } of read()) yield text;
    },
    sha256: await contentHash(paths, { textField, filters: decisiveSettings(asked) }),
    several: source.files.length > 1 || source.files[0]?.kind !== "text",
    report: () => ({ files: paths, badRows: source.badRows, filters: kept.reports }),
    ignored: source.ignored,
    kinds: source.files.map(({ kind, compression }) => `${kind} ${compression}`),
    progress: source.progress,
  };
}

type FilterRecipe = NonNullable<Recipe["data"]["filters"]>[number];

function filterOf(recipe: FilterRecipe): Filter {
  switch (recipe.filter) {
    case "length":
      return lengthFilter(recipe);
    case "exact-duplicates":
      return exactDuplicates();
    case "near-duplicates":
      return nearDuplicates(recipe);
    case "gopher-quality":
      return gopherQuality(recipe);
    case "gopher-repetition":
      return gopherRepetition();
    case "c4":
      return c4(recipe);
  }
}

/** Tokens in a file, which is to be closed. */
export type RunDocuments = TokenDocuments & Disposable;

/** The token that ends documents: what models are pretrained with, else what the tokenizer calls the end of a text, if anything. */
function endOfDocument({ config, tokenToId }: Tokenizer): string | undefined {
  const { eos_token: end } = config;
  const named = typeof end === "string" ? end : (end as { readonly content?: unknown } | null | undefined)?.content;
  return [endOfText, "<|end_of_text|>", named].find(
    (token): token is string => typeof token === "string" && tokenToId(token) !== undefined,
  );
}

/** The texts as tokens, from the cache where they have been encoded before. */
export async function tokensOf(
  texts: RunTexts,
  tokenizer: Tokenizer,
  { data }: Recipe,
  { reporter, signal }: { readonly reporter: Reporter; readonly signal: AbortSignal | undefined },
): Promise<RunDocuments> {
  const separator = texts.several ? endOfDocument(tokenizer) : undefined;
  const tokens = await cachedTokens(texts.read, tokenizer, {
    folder: join(cacheFolder(), "tokens"),
    content: JSON.stringify([texts.sha256, texts.kinds]),
    report: texts.report,
    ...(separator === undefined ? {} : { separator }),
    ...(signal ? { signal } : {}),
    onProgress: () => reporter.preparing?.("encoding", texts.progress.read, texts.progress.total),
  });
  try {
    // From the file, not from the reading: tokens that were there already have not been read, but rows may be missing from them too.
    const report = renamedFiles(tokens.report ?? nothingLeftOut, texts.report().files);
    const [badRow] = report.badRows.listed;
    if (badRow && data.onBadRow !== "skip") throw badRowError(badRow); // they were skipped when the tokens were made
    if (texts.ignored.length > 0) reporter.message(`Not read, since their endings are not known: ${texts.ignored.join(", ")}`);
    for (const line of describeReading(report)) reporter.message(line);
    return tokens;
  } catch (error) {
    tokens[Symbol.dispose]();
    throw error;
  }
}
