/** Part of a file: weights that lie in it. */

import { open } from "node:fs/promises";
import { TsumikiError } from "../../errors.js";

export async function readFileSlice(path: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(path, "r");
  try {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await file.read(bytes, filled, length - filled, offset + filled);
      if (bytesRead === 0)
        throw new TsumikiError(
          "ENGINE",
          `${path} ends at byte ${offset + filled}, but weights were expected up to ${offset + length}.`,
        );
      filled += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}
