/**
 * Tokens of documents in a file: a safetensors file with `tokens` [tokens], `documentLengths` [documents], and `lossMask` [tokens]
 * where not all tokens count for the loss. Tokens are read by slices when they are asked for; in memory are eight bytes a document.
 */

import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readSafetensors } from "../../checkpoint/safetensors.node.js";
import { planSafetensors } from "../../checkpoint/safetensors-format.js";
import { TsumikiError } from "../../errors.js";
import { writeFileAtomically } from "../../files/atomic.node.js";
import type { TypedArray } from "../../graph/dtype.js";
import type { Tokenizer } from "../../tokenizer/tokenizer.js";
import { parseReadingReport, type ReadingReport, readingReportText } from "../reading-report.js";
import { startsOf, type TokenDocuments } from "./token-documents.js";

/** What is known of the tokens besides themselves. */
export interface TokenFileFacts {
  /** What the file is called by its maker: the same key, the same tokens. */
  readonly key: string;
  readonly textBytes: number;
  readonly separator: number | undefined;
  /** What was left out of the data. Default: it is not told. */
  readonly report?: ReadingReport;
}

/** Documents in an open file. */
export interface TokenFile extends TokenDocuments, Disposable {
  readonly path: string;
  readonly key: string;
  /** What was left out of the data when the file was made; `undefined` where its maker did not say. */
  readonly report: ReadingReport | undefined;
}

/** Collects documents whose number is not known beforehand, in memory that does not grow but for four bytes a document. */
export interface TokenFileWriter extends AsyncDisposable {
  /** @param lossMask of the same length, in all calls or in none */
  append(ids: Int32Array, lossMask?: Uint8Array): Promise<void>;
  /** The next so many tokens, appended already or to come, are a document. */
  addDocument(length: number): void;
  /** Puts the file in its place; afterwards the writer is used up. */
  finish(facts: TokenFileFacts): Promise<void>;
}

const copyBytes = 1 << 22;
/** Two bytes hold the ids of a vocabulary up to here. */
const shortIds = 1 << 16;

/** @param vocabSize decides how many bytes an id takes: two up to 65,536 tokens, else four */
export async function tokenFileWriter(path: string, vocabSize: number): Promise<TokenFileWriter> {
  await mkdir(dirname(path), { recursive: true });
  const spoolName = (what: string) =>
    join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.${what}`);
  const idType = vocabSize <= shortIds ? "uint16" : "int32";
  const tokens = await spool(spoolName("tokens"));
  let masks: Spool | undefined;
  let lengths = new Uint32Array(1024);
  let documents = 0;
  let tokenCount = 0;
  let inDocuments = 0;
  const remove = async () => {
    await tokens.remove();
    await masks?.remove();
  };
  return {
    async append(ids, lossMask) {
      if (lossMask) masks ??= await spool(spoolName("mask"));
      await tokens.write(idType === "uint16" ? new Uint16Array(ids) : ids);
      if (lossMask) await masks?.write(lossMask);
      tokenCount += ids.length;
    },
    addDocument(length) {
      if (documents === lengths.length) {
        const grown = new Uint32Array(2 * documents);
        grown.set(lengths);
        lengths = grown;
      }
      lengths[documents++] = length;
      inDocuments += length;
    },
    async finish({ key, textBytes, separator, report }) {
      if (inDocuments !== tokenCount)
        throw new TsumikiError("STATE", `${tokenCount} tokens were written to ${path}, but its documents have ${inDocuments}.`);
      const contents = new Map<string, Spool | Uint8Array>([
        ["tokens", tokens],
        ["documentLengths", bytesOf(lengths.subarray(0, documents))],
        ...(masks ? [["lossMask", masks] as const] : []),
      ]);
      const plan = planSafetensors(
        [
          { name: "tokens", dtype: idType, shape: [tokenCount] },
          { name: "documentLengths", dtype: "uint32", shape: [documents] },
          ...(masks ? [{ name: "lossMask", dtype: "uint8", shape: [tokenCount] } as const] : []),
        ],
        {
          format: "tsumiki-tokens",
          key,
          textBytes: String(textBytes),
          ...(separator === undefined ? {} : { separator: String(separator) }),
          ...(report === undefined ? {} : { report: readingReportText(report) }),
        },
      );
      await writeFileAtomically(path, async (file) => {
        await writeAll(file, plan.start);
        for (const { tensor } of plan.tensors) {
          const content = contents.get(tensor.name) as Spool | Uint8Array;
          if (content instanceof Uint8Array) await writeAll(file, content);
          else await content.copyTo(file);
        }
      });
      await remove();
    },
    [Symbol.asyncDispose]: remove,
  };
}

/** A file that is written first and copied into another later. */
interface Spool {
  write(data: TypedArray): Promise<void>;
  copyTo(file: FileHandle): Promise<void>;
  remove(): Promise<void>;
}

async function spool(path: string): Promise<Spool> {
  const file = await open(path, "wx+");
  let removed = false;
  return {
    write: (data) => writeAll(file, bytesOf(data)),
    async copyTo(target) {
      const buffer = new Uint8Array(copyBytes);
      for (let at = 0; ; ) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        if (bytesRead === 0) return;
        await writeAll(target, buffer.subarray(0, bytesRead));
        at += bytesRead;
      }
    },
    async remove() {
      if (removed) return;
      removed = true;
      await file.close();
      await rm(path, { force: true });
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, Math.min(bytes.length - done, 1 << 30))).bytesWritten;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: TypedArray): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength);

/**
 * Opens a file of tokens that were made by `tokenizer`.
 *
 * @throws TsumikiError CHECKPOINT when it is truncated or no file of tokens, DATA when its tokens are not in the tokenizer's vocabulary
 */
export async function openTokenFile(path: string, tokenizer: Tokenizer): Promise<TokenFile> {
  const file = await readSafetensors(path);
  await using _ = { [Symbol.asyncDispose]: () => file.close() };
  const { metadata, tensors } = file;
  const [tokens, mask] = [tensors.get("tokens"), tensors.get("lossMask")];
  if (metadata.format !== "tsumiki-tokens" || !tokens || !tensors.has("documentLengths"))
    throw new TsumikiError(
      "CHECKPOINT",
      `${path} is not a file of tokens: it has ${[...tensors.keys()].join(", ") || "no tensors"}.`,
    );
  if (tokens.dtype === "int32" && tokenizer.vocabSize <= shortIds)
    throw new TsumikiError("DATA", `${path} has tokens of a larger vocabulary than the tokenizer's ${tokenizer.vocabSize}.`);
  const starts = startsOf((await file.read("documentLengths")).data as Uint32Array);
  const descriptor = openSync(path, "r");
  let open = true;
  const readBytes = (offset: number, length: number): Uint8Array => {
    if (!open) throw new TsumikiError("RELEASED", `${path} was closed before its tokens were read.`);
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const read = readSync(descriptor, bytes, done, length - done, offset + done);
      if (read === 0) throw new TsumikiError("CHECKPOINT", `${path} became shorter while it was read.`);
      done += read;
    }
    return bytes;
  };
  const { separator } = metadata;
  return {
    path,
    key: metadata.key ?? "",
    tokenizer,
    starts,
    separator: separator === undefined ? undefined : Number(separator),
    textBytes: Number(metadata.textBytes),
    report: parseReadingReport(metadata.report),
    read(start, end) {
      const width = tokens.dtype === "uint16" ? 2 : 4;
      const [from, to] = [Math.min(start, starts.at(-1) as number), Math.min(end, starts.at(-1) as number)];
      const { buffer } = readBytes(tokens.byteOffset + width * from, width * (to - from));
      return width === 2 ? new Int32Array(new Uint16Array(buffer)) : new Int32Array(buffer);
    },
    readLossMask: (start, end) =>
      mask ? readBytes(mask.byteOffset + start, Math.min(end, starts.at(-1) as number) - start) : undefined,
    [Symbol.dispose]() {
      if (open) closeSync(descriptor);
      open = false;
    },
  };
}
