/** One process at a time writes to a run. */

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError } from "../errors.js";
import { makeDirectory } from "./directory.node.js";

/** Locks that this process holds; another one with its process id was left by an earlier process. */
const held = new Set<string>();

/** Takes the lock of a directory, which is made when it is not there. The lock of a process that has died does not count. */
export async function lockRun(directory: string): Promise<AsyncDisposable> {
  await makeDirectory(directory);
  const path = join(directory, ".lock");
  for (let attempt = 0; ; attempt++) {
    try {
      await writeFile(path, `${process.pid}\n`, { flag: "wx" });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt > 2) throw error;
    }
    const owner = Number(await readFile(path, "utf8").catch(() => ""));
    if (isAlive(owner, path))
      throw new ArgumentError(
        `Process ${owner} is writing to the run in ${directory}. Wait for it, stop it, or choose another directory.`,
      );
    await rm(path, { force: true });
  }
  held.add(path);
  return {
    async [Symbol.asyncDispose]() {
      held.delete(path);
      await rm(path, { force: true });
    },
  };
}

function isAlive(owner: number, path: string): boolean {
  if (!Number.isSafeInteger(owner) || owner <= 0) return false;
  if (owner === process.pid) return held.has(path);
  try {
    process.kill(owner, 0); // sends nothing, only asks
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // it is there and belongs to someone else
  }
}
