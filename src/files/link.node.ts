/** A file under a second name. */

import { copyFile, link } from "node:fs/promises";

/** Gives the content of `from` the new name `to` as well: the same file where the disk can do that, else a copy. Neither may be written into. */
export async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    await copyFile(from, to);
  }
}
