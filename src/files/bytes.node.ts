/** Reading and writing whole arrays: a single call to the system may move less than it was asked to, and at most 2 GiB. */

import type { FileHandle } from "node:fs/promises";

const bytesPerCall = 2 ** 30;

/** Fills `into` from `position` on. Gives how many bytes that were: fewer where the file ends before. */
export async function readFully(file: FileHandle, into: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, Math.min(into.length - done, bytesPerCall), position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** Writes all of `bytes` at `position`, or where the file's last write ended. The system's error where the disk takes no more. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const place = position === undefined ? null : position + done;
    done += (await file.write(bytes, done, Math.min(bytes.length - done, bytesPerCall), place)).bytesWritten;
  }
}
