/** Safetensors files on disk (Node): read one tensor at a time, written one tensor at a time. */

import { type FileHandle, open } from "node:fs/promises";
import { TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";
import { readFully, writeFully } from "../files/bytes.node.js";
import type { TypedArray } from "../graph/dtype.js";
import type { HostArray } from "../graph/host-array.js";
import {
  lengthBytes,
  parseHeader,
  planSafetensors,
  readHeaderLength,
  type SafetensorsHeader,
  type SafetensorsMetadata,
  type TensorDescription,
  tensorBuffer,
  tensorBytes,
  unreadable,
} from "./safetensors-format.js";

/** An open file whose header has been checked against its length; the data is read when it is asked for. */
export interface SafetensorsFile extends SafetensorsHeader, AsyncDisposable {
  readonly path: string;
  /** Throws `CHECKPOINT` for a name that the file does not have, `RELEASED` after `close()`. */
  read(name: string): Promise<HostArray>;
  close(): Promise<void>;
}

/**
 * Opens a safetensors file. The header is validated whole before anything else happens, so that a truncated or foreign file is
 * refused (`CHECKPOINT`) and never half loaded. The place of each tensor is that in the file: an ONNX model can name it as
 * external data.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await openForReading(path);
  try {
    const { size } = await file.stat();
    const start = await readBytes(file, new Uint8Array(Math.min(lengthBytes, size)), 0, path);
    if (new TextDecoder().decode(start) === "version ")
      throw new TsumikiError(
        "CHECKPOINT",
        `${path} is a Git LFS pointer, a note of where the real file is kept: run "git lfs pull" in its repository.`,
      );
    const headerLength = readHeaderLength(start, size, path);
    const header = await readBytes(file, new Uint8Array(headerLength), lengthBytes, path);
    return safetensorsFile(path, file, parseHeader(header, size, path));
  } catch (error) {
    await file.close();
    throw error;
  }
}

function safetensorsFile(path: string, file: FileHandle, { metadata, tensors }: SafetensorsHeader): SafetensorsFile {
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= file.close();
    return closing;
  };
  const read = async (name: string): Promise<HostArray> => {
    if (closing) throw new TsumikiError("RELEASED", `${path} was closed before its tensor ${JSON.stringify(name)} was read.`);
    const layout = tensors.get(name);
    if (!layout)
      throw new TsumikiError(
        "CHECKPOINT",
        `${path} has no tensor ${JSON.stringify(name)}. It has ${listNames([...tensors.keys()])}.`,
      );
    const { bytes, finish } = tensorBuffer(layout);
    await readBytes(file, bytes, layout.byteOffset, path);
    return finish();
  };
  return { path, metadata, tensors, read, close, [Symbol.asyncDispose]: close };
}

async function openForReading(path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (cause) {
    throw new TsumikiError("CHECKPOINT", `The safetensors file ${path} cannot be opened: ${(cause as Error).message}.`, {
      cause,
    });
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new TsumikiError("CHECKPOINT", `${path} is not a file. Give the path of a .safetensors file.`);
}

async function readBytes(file: FileHandle, into: Uint8Array, position: number, path: string): Promise<Uint8Array> {
  const done = await readFully(file, into, position);
  if (done < into.length) throw unreadable(path, `it ended at byte ${position + done}; it was cut while it was open`);
  return into;
}

/** A tensor to be written, and where to get its data when its turn comes. */
export interface SafetensorsEntry extends TensorDescription {
  readonly data: () => TypedArray | Promise<TypedArray>;
}

/**
 * Writes a safetensors file, holding one tensor's data at a time. The file appears under `path` when it is complete and synced;
 * when anything fails, `path` keeps what it had and nothing else is left behind. Throws `CHECKPOINT` where a tensor's name, shape
 * or data cannot be written, and the error of `data` or of the disk as it is.
 */
export async function writeSafetensors(
  path: string,
  entries: Iterable<SafetensorsEntry>,
  metadata: SafetensorsMetadata = {},
): Promise<void> {
  const plan = planSafetensors(entries, metadata);
  await writeFileAtomically(path, async (file) => {
    await writeFully(file, plan.start);
    for (const { tensor } of plan.tensors) await writeFully(file, tensorBytes(tensor, await tensor.data()));
  });
}

function listNames(names: readonly string[]): string {
  if (names.length === 0) return "no tensors";
  const shown = names.slice(0, 8).join(", ");
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown;
}
