/** Files that are either the old ones or the new ones, whole, whenever the process or the machine stops. */

import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** The whole content, or a function that writes it piece by piece to an open file (it must not close it). */
export type FileContent = string | Uint8Array | ((file: FileHandle) => Promise<void>);

/**
 * Writes `path` so that a reader, a crash or a power cut sees the previous file or the new one and nothing between: the content goes
 * to a temporary name in the same folder, is synced, and is then renamed over `path`, and the folder is synced too.
 *
 * When anything fails (a full disk, an exception in `content`) the temporary file is removed, `path` is left as it was and the
 * original error is thrown, with Node's `code` (`ENOSPC`, `ENOENT`, ...). A process killed in between leaves a `.*.tmp` file behind.
 * The folder must exist. A symbolic link at `path` is replaced, not followed.
 */
export async function writeFileAtomically(path: string, content: FileContent): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`);
  const file = await open(temporary, "wx"); // created here or not at all: nobody else's file is removed below
  try {
    try {
      if (typeof content === "function") await content(file);
      else await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** Windows and some network file systems cannot sync a folder: there the rename is as durable as the system makes it. */
const cannotSyncFolders = new Set(["EISDIR", "EPERM", "EACCES", "EINVAL", "ENOTSUP"]);

/** Makes the names in `folder` (a rename just made) durable. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!cannotSyncFolders.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
