/** The bytes of a file in Node, decompressed where it is compressed. */

import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { Decompress } from "fzstd";
import { TsumikiError } from "../../errors.js";
import type { DataFile } from "../data-file.js";
import type { ByteSource } from "./raw-row.js";

const chunkBytes = 256 * 1024;

/**
 * @param onRead is told how many bytes were read, as they are stored
 * @throws TsumikiError DATA when the file cannot be read, is truncated or is not compressed as its name says (while it is read)
 */
export function byteSource({ path, compression }: DataFile, onRead: (bytes: number) => void = () => {}): ByteSource {
  const stored = async function* (start = 0): AsyncGenerator<Uint8Array> {
    for await (const chunk of createReadStream(path, { start, highWaterMark: chunkBytes })) {
      onRead((chunk as Uint8Array).length);
      yield chunk as Uint8Array;
    }
  };
  const open = (from: number): AsyncIterable<Uint8Array> => {
    switch (compression) {
      case "none":
        return stored(from);
      case "gzip":
        return behind(gunzipped(stored()), from);
      case "zstd":
        return behind(unzstd(stored()), from);
    }
  };
  return {
    name: path,
    async *bytes(from) {
      try {
        yield* open(from);
      } catch (cause) {
        throw unreadableFile(path, compression === "none" ? "" : ` as ${compression}`, cause);
      }
    },
  };
}

export function unreadableFile(path: string, as: string, cause: unknown): TsumikiError {
  if (cause instanceof TsumikiError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === "ENOENT")
    return new TsumikiError("DATA", `There is no file at ${path} (looked for in ${process.cwd()}).`, { cause });
  if (code === "EISDIR") return new TsumikiError("DATA", `${path} is a folder; give the path of a file.`, { cause });
  return new TsumikiError("DATA", `${path} cannot be read${as}: ${message}`, { cause });
}

const gunzipped = (compressed: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> =>
  pipeline(compressed, createGunzip({ chunkSize: chunkBytes }), () => {}) as AsyncIterable<Uint8Array>;

async function* unzstd(compressed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let ready: Uint8Array[] = [];
  const decompress = new Decompress((chunk) => {
    if (chunk.length > 0) ready.push(chunk.slice()); // the library writes over its window
  });
  for await (const chunk of compressed) {
    decompress.push(chunk);
    yield* ready;
    ready = [];
  }
  decompress.push(new Uint8Array(), true);
  yield* ready;
}

async function* behind(chunks: AsyncIterable<Uint8Array>, from: number): AsyncGenerator<Uint8Array> {
  let skipped = 0;
  for await (const chunk of chunks) {
    const here = Math.min(chunk.length, from - skipped);
    skipped += here;
    if (here < chunk.length) yield chunk.subarray(here);
  }
}
