/** Tokens that are made once: a cache on disk, found again by the content of the data and the tokenizer (Node). */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { TsumikiError } from "../../errors.js";
import type { Tokenizer } from "../../tokenizer/tokenizer.js";
import type { TextExample } from "../example.js";
import { unreadableFile } from "../read/bytes.node.js";
import { nothingLeftOut, type ReadingReport } from "../reading-report.js";
import { defaultWorkers, type EncodedTexts, type EncodePool, encodePool, encodeTexts } from "./encode-pool.node.js";
import { type EncodingOptions, separatorId } from "./token-documents.js";
import { openTokenFile, type TokenFile, tokenFileWriter } from "./token-file.node.js";

export interface TokenizingProgress {
  readonly documents: number;
  readonly tokens: number;
  /** Text that has been encoded [bytes of UTF-8]. */
  readonly textBytes: number;
}

export interface TokenCacheOptions extends EncodingOptions {
  /** The folder that holds such files. */
  readonly folder: string;
  /** What the texts depend on: their files' content (`contentHash`) and what was done with it. */
  readonly content: string;
  /** Threads that encode, from the first text on. Default: one for each core where there is so much text that they are worth their start. */
  readonly workers?: number;
  readonly onProgress?: (progress: TokenizingProgress) => void;
  /**
   * What was left out of the data; asked for when all texts have been read, and kept with the tokens: whoever finds them again finds it
   * in the file's `report`. Default: nothing was.
   */
  readonly report?: () => ReadingReport;
  readonly signal?: AbortSignal;
}

/** Told in the key, so that files of another making are not found. (1 had no report of what was left out.) */
const formatVersion = 2;

/** What tokens are found by: equal for equal content, tokenizer and separator. */
function tokenCacheKey(tokenizer: Tokenizer, { content, separator }: Pick<TokenCacheOptions, "content" | "separator">): string {
  const tokenizerHash = createHash("sha256").update(JSON.stringify(tokenizer.toJSON())).digest("hex");
  return createHash("sha256")
    .update(JSON.stringify([formatVersion, tokenizerHash, content, separator ?? null]))
    .digest("hex");
}

/**
 * The tokens of documents: from the cache where they are there, else encoded on all cores and kept. The file appears when it is whole.
 * Memory holds a few megabytes of text for each worker, and four bytes a document.
 *
 * @param texts is called when they have to be read
 * @throws TsumikiError ABORTED by the signal, DATA where there are no documents or a file cannot be written, and what reading and
 * encoding throw
 */
export async function cachedTokens(
  texts: () => AsyncIterable<TextExample>,
  tokenizer: Tokenizer,
  options: TokenCacheOptions,
): Promise<TokenFile> {
  const key = tokenCacheKey(tokenizer, options);
  const path = join(options.folder, `${key}.safetensors`);
  const known = await openTokenFile(path, tokenizer).catch(() => undefined); // absent, or damaged: it is made anew
  if (known?.key === key && known.report) return known;
  known?.[Symbol.dispose]();
  await writeTokens(texts(), tokenizer, path, key, options);
  return openTokenFile(path, tokenizer);
}

/**
 * Texts that go to a worker together, and the amount up to which workers are not worth their start: each takes the time in which a thread
 * encodes some thirty megabytes, while sending texts and tokens costs next to nothing. [UTF-16 units]
 */
const batchLength = 1 << 19;
const lengthWithoutWorkers = 1 << 26;

interface Batch {
  readonly examples: readonly TextExample[];
  readonly encoded: Promise<EncodedTexts>;
}

async function writeTokens(
  texts: AsyncIterable<TextExample>,
  tokenizer: Tokenizer,
  path: string,
  key: string,
  { onProgress, signal, report = () => nothingLeftOut, workers: given, ...options }: TokenCacheOptions,
): Promise<void> {
  const separator = separatorId(tokenizer, options);
  const workers = given ?? defaultWorkers();
  let pool: EncodePool | undefined;
  let sent = 0;
  const progress = { documents: 0, tokens: 0, textBytes: 0 };
  try {
    await using writer = await tokenFileWriter(path, tokenizer.vocabSize);

    const encode = (examples: readonly TextExample[]): Batch => {
      const batch = examples.map(({ text }) => text);
      if (sent > lengthWithoutWorkers && workers > 1) pool ??= encodePool(tokenizer, workers); // encodes itself until they have started
      sent += lengthOf(examples);
      const encoded = pool?.ready()
        ? pool.encode(batch)
        : new Promise<EncodedTexts>((resolve) => resolve(encodeTexts(tokenizer, batch)));
      encoded.catch(() => {}); // awaited later, in order
      return { examples, encoded };
    };
    let begun = 0; // tokens of a document that goes on in the next piece
    const write = async ({ examples, encoded }: Batch) => {
      const { ids, lengths } = await encoded;
      const tokens = new Int32Array(ids.length + examples.length); // each may get a separator
      let [from, to] = [0, 0];
      for (const [i, { text, continues }] of examples.entries()) {
        const length = lengths[i] as number;
        tokens.set(ids.subarray(from, from + length), to);
        from += length;
        to += length;
        begun += length;
        progress.textBytes += Buffer.byteLength(text);
        if (continues) continue;
        if (separator !== undefined) tokens[to++] = separator;
        writer.addDocument(begun + (separator === undefined ? 0 : 1));
        begun = 0;
        progress.documents++;
      }
      await writer.append(tokens.subarray(0, to));
      progress.tokens += to;
      onProgress?.({ ...progress });
      if (signal?.aborted) throw new TsumikiError("ABORTED", "Encoding the data was stopped.");
    };

    if (given !== undefined && workers > 1) {
      pool = encodePool(tokenizer, workers);
      await pool.started;
    }
    const underWay: Batch[] = [];
    for await (const examples of batches(texts)) {
      underWay.push(encode(examples));
      // Two batches for each worker keep it busy; more would only fill memory.
      while (underWay.length > (pool?.ready() ? 2 * pool.size : 0)) await write(underWay.shift() as Batch);
    }
    for (const batch of underWay) await write(batch);
    if (progress.documents === 0) throw new TsumikiError("DATA", "The data has no documents: there is nothing to learn from.");
    await writer.finish({ key, textBytes: progress.textBytes, separator, report: report() });
  } catch (cause) {
    const { syscall, path: place, message } = cause as NodeJS.ErrnoException;
    if (cause instanceof TsumikiError || syscall === undefined) throw cause;
    throw new TsumikiError(
      "DATA",
      `The tokens cannot be kept in ${place ?? path}: ${message}. Set TSUMIKI_CACHE to another folder.`,
      { cause },
    );
  } finally {
    await pool?.[Symbol.asyncDispose]();
  }
}

const lengthOf = (examples: readonly TextExample[]): number => examples.reduce((sum, { text }) => sum + text.length, 0);

async function* batches(texts: AsyncIterable<TextExample>): AsyncGenerator<readonly TextExample[]> {
  let batch: TextExample[] = [];
  let length = 0;
  for await (const text of texts) {
    batch.push(text);
    length += text.text.length;
    if (length < batchLength) continue;
    yield batch;
    batch = [];
    length = 0;
  }
  if (batch.length > 0) yield batch;
}

/** A hash of the content of files, in order, and of whatever else decides what is read from them. */
export async function contentHash(paths: readonly string[], options: unknown = null): Promise<string> {
  const all = createHash("sha256").update(JSON.stringify(options) ?? "");
  for (const path of paths) {
    const one = createHash("sha256");
    try {
      for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) one.update(chunk as Uint8Array);
    } catch (cause) {
      throw unreadableFile(path, "", cause);
    }
    all.update(one.digest());
  }
  return all.digest("hex");
}
