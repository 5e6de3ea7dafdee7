/** One file of a repository on its way into the cache: resumed where it was broken off, and checked against its hash. */

import { createHash, type Hash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { downloadFile, fileDownloadInfo } from "@huggingface/hub";
import { TsumikiError } from "../errors.js";
import { writeFully } from "../files/bytes.node.js";
import { sizeOf } from "./cache.node.js";

export interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** SHA-256 of a large file, where the repository keeps it apart. */
  readonly sha256?: string;
  /** Git's name of a small one: SHA-1 of `blob <size>\0` and the content. */
  readonly gitHash?: string;
}

export interface TransferOptions {
  readonly repository: string;
  readonly commit: string;
  readonly hubUrl: string;
  readonly accessToken?: string;
  readonly signal?: AbortSignal;
  /** Bytes of this file that have arrived, those of earlier attempts included. */
  readonly onBytes: (received: number) => void;
}

/** The name of a file's blob in the cache. */
export const blobName = (file: RemoteFile): string => file.sha256 ?? file.gitHash ?? "";

/** Attempts in a row that may bring no byte before a download is given up. */
const fruitlessAttempts = 3;

/**
 * Downloads a file to `target`. What arrives is kept under `<target>.incomplete`, so that a later call goes on where this one was
 * broken off.
 *
 * @throws TsumikiError NETWORK where the connection stays broken, the disk takes no more or the content is not what the repository
 * says; ABORTED by the signal
 */
export async function transfer(file: RemoteFile, target: string, options: TransferOptions): Promise<void> {
  const incomplete = `${target}.incomplete`;
  await mkdir(dirname(target), { recursive: true });
  for (let fruitless = 0; ; ) {
    const before = (await sizeOf(incomplete)) ?? 0;
    try {
      if (before < file.size || file.size === 0) await receive(file, incomplete, before, options);
      break;
    } catch (cause) {
      if (options.signal?.aborted) throw new TsumikiError("ABORTED", `Downloading ${file.path} was stopped.`, { cause });
      if (isOfTheDisk(cause)) throw unwritable(file, incomplete, cause);
      fruitless = ((await sizeOf(incomplete)) ?? 0) > before ? 0 : fruitless + 1;
      if (fruitless < fruitlessAttempts) continue;
      throw new TsumikiError(
        "NETWORK",
        `${file.path} of ${options.repository} could not be downloaded: ${(cause as Error).message}. ` +
          "What has arrived is kept; the same call goes on from there.",
        { cause },
      );
    }
  }
  try {
    await checkContent(file, incomplete, options.repository);
    await rename(incomplete, target);
  } catch (error) {
    // Another process may have had the same to do, and been first.
    const isThere = (error as NodeJS.ErrnoException).code === "ENOENT" && (await sizeOf(target)) === file.size;
    if (!isThere) throw error;
  }
}

/** What trying again does not mend. */
const isOfTheDisk = (cause: unknown): cause is Error =>
  ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO"].includes((cause as NodeJS.ErrnoException).code ?? "");

const unwritable = (file: RemoteFile, path: string, cause: Error): TsumikiError =>
  new TsumikiError(
    "NETWORK",
    `${file.path} (${file.size} bytes) could not be written to ${path}: ${cause.message}. What has arrived is kept; make room there, ` +
      "or name another folder with HF_HUB_CACHE, and call again.",
    { cause },
  );

async function receive(file: RemoteFile, path: string, start: number, options: TransferOptions): Promise<void> {
  const request = {
    repo: options.repository,
    path: file.path,
    revision: options.commit,
    hubUrl: options.hubUrl,
    fetch: withSignal(options.signal),
    ...(options.accessToken ? { accessToken: options.accessToken } : {}),
  };
  const info = await fileDownloadInfo(request);
  const blob = info && (await downloadFile({ ...request, downloadInfo: info }));
  if (!blob) throw new Error("the server says that there is no such file");
  // Not emptied when it is opened: another process may be at the same file, and whoever is behind writes the same bytes again.
  await using output = await open(path, constants.O_CREAT | constants.O_RDWR);
  let position = start;
  for await (const chunk of blob.slice(start, file.size).stream() as unknown as AsyncIterable<Uint8Array>) {
    if (position + chunk.length > file.size) throw new Error(`the server sent more than the ${file.size} bytes it had announced`);
    await writeFully(output, chunk, position);
    position += chunk.length;
    options.onBytes(position);
  }
  await output.sync();
  if (position < file.size) throw new Error(`the connection ended at byte ${position} of ${file.size}`);
}

const withSignal =
  (signal: AbortSignal | undefined): typeof fetch =>
  (input, init) =>
    fetch(input, signal ? { ...init, signal } : init);

/** A file whose content is not what the repository names is removed, so that the next attempt begins anew. */
async function checkContent(file: RemoteFile, path: string, repository: string): Promise<void> {
  const expected = file.sha256 ?? file.gitHash;
  if (expected === undefined) return;
  const hash: Hash = file.sha256 !== undefined ? createHash("sha256") : createHash("sha1").update(`blob ${file.size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const actual = hash.digest("hex");
  if (actual === expected) return;
  await rm(path, { force: true });
  throw new TsumikiError(
    "NETWORK",
    `${file.path} of ${repository} is not what the hub says it is: its ${file.sha256 !== undefined ? "SHA-256" : "git hash"} is ` +
      `${actual}, not ${expected}. It was removed; call again to download it anew.`,
  );
}
