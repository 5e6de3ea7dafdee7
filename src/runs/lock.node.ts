/**
 * One process at a time writes to a run.
 *
 * Each puts a lock of its own into the directory, whole and at once, and only then looks for others. Of two processes the later one
 * therefore sees the lock of the earlier one, and gives way; two that come at the same moment both give way, and try again a little later.
 */

import { randomBytes } from "node:crypto";
import { link, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as z from "zod";
import { ArgumentError } from "../errors.js";
import { makeDirectory } from "./directory.node.js";

const prefix = ".lock-";
const attempts = 4;

const ownerSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  /** When the process began, in the system's own units: a process id is given out again. Absent where the system does not tell. */
  started: z.string().optional(),
});
type Owner = z.infer<typeof ownerSchema>;

/** Locks that this process holds; another one with its process id was left by an earlier process. */
const held = new Set<string>();

/**
 * Takes the lock of a directory, which is made when it is not there. The lock of a process that has died does not count.
 *
 * @throws TsumikiError ARGUMENT where another process writes to the run; it names the process and its lock
 */
export async function lockRun(directory: string): Promise<AsyncDisposable> {
  await makeDirectory(directory);
  for (let attempt = 1; ; attempt++) {
    const path = await putLock(directory);
    const other = await otherLock(directory, path);
    if (!other)
      return {
        async [Symbol.asyncDispose]() {
          held.delete(path);
          await rm(path, { force: true });
        },
      };
    held.delete(path);
    await rm(path, { force: true });
    if (attempt === attempts)
      throw new ArgumentError(
        `${other.owner} is writing to the run in ${directory}. Wait for it, stop it, or choose another directory. ` +
          `(Its lock is ${other.path}; where you know that no process works on the run, remove it.)`,
      );
    await wait(20 + Math.random() * 60 * attempt);
  }
}

/** A lock appears with its content, or not at all. */
async function putLock(directory: string): Promise<string> {
  const name = `${process.pid}-${randomBytes(4).toString("hex")}`;
  const path = join(directory, prefix + name);
  const draft = join(directory, `.${name}.lock-draft`);
  const started = await startOf(process.pid);
  const owner: Owner = { pid: process.pid, host: hostname(), ...(started === undefined ? {} : { started }) };
  held.add(path);
  try {
    await writeFile(draft, `${JSON.stringify(owner)}\n`, { flag: "wx" });
    await link(draft, path);
  } catch (error) {
    held.delete(path);
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
  return path;
}

interface OtherLock {
  readonly path: string;
  readonly owner: string;
}

/** Another process's lock, if there is one; those of processes that have died are removed. */
async function otherLock(directory: string, own: string): Promise<OtherLock | undefined> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (path === own || !(name.startsWith(prefix) || name === ".lock")) continue;
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) continue; // it has just been taken away
    const owner = parseOwner(text);
    if (owner && (await isAlive(owner, path)))
      return { path, owner: owner.host === hostname() ? `Process ${owner.pid}` : `Process ${owner.pid} on ${owner.host}` };
    await rm(path, { force: true });
  }
  return undefined;
}

/** Releases of before wrote the process id alone into `.lock`. */
function parseOwner(text: string): Owner | undefined {
  if (/^\d+\s*$/.test(text)) return { pid: Number(text), host: hostname() };
  try {
    return ownerSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function isAlive({ pid, host, started }: Owner, path: string): Promise<boolean> {
  if (host !== hostname()) return true; // nobody can tell from here
  if (pid === process.pid) return held.has(path);
  try {
    process.kill(pid, 0); // sends nothing, only asks
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false; // EPERM: it is there and belongs to someone else
  }
  const now = await startOf(pid);
  return started === undefined || now === undefined || now === started;
}

/** When a process began, in clock ticks since the system started; known on Linux. */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The second field, the program's name in parentheses, may hold spaces; the start is the 22nd.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
