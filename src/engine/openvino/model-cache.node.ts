/**
 * Compiled models in a folder. OpenVINO writes and reads them, but takes whatever it finds there for what it wrote; so each lies in
 * a folder of its own, which gets its name when it is complete, with digests of what is in it, and is looked through before it is
 * used. What cannot be read or kept is compiled as if there were no folder.
 */

import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Below, a model is compiled before a file of it is found: products of matrices, the parts of an example. */
const SMALLEST_BYTES = 16 * 1024;

/** Above, a model has weights inside. That of the largest training step here has a megabyte. */
const LARGEST_BYTES = 8 * 2 ** 20;

/** A run has three or four; another precision, as many again. */
const MOST_KEPT = 8;

/** In the format of `sha256sum`. */
const digestFile = "SHA256SUMS";

/** Temporary folders of this process: those that are not were left by a process that has died, which may have had our number. */
const own = new Set<string>();

/** Compiles, keeping what it compiles in a folder, and taking it from there, when it is given one. */
type Compile<T> = (cacheFolder?: string) => Promise<T>;

export class ModelCache {
  readonly #folder: string;
  readonly #compiler: string;

  /** @param compiler names everything but the model that the result depends on: version, processor, properties */
  constructor(folder: string, compiler: string) {
    this.#folder = folder;
    this.#compiler = compiler;
  }

  async compile<T>(onnx: Uint8Array, compile: Compile<T>): Promise<T> {
    if (onnx.byteLength < SMALLEST_BYTES || onnx.byteLength > LARGEST_BYTES) return compile();
    const entry = join(this.#folder, createHash("sha256").update(this.#compiler).update("\0").update(onnx).digest("hex"));
    return (await isIntact(entry)) ? this.#take(entry, compile) : this.#keep(entry, compile);
  }

  async #take<T>(entry: string, compile: Compile<T>): Promise<T> {
    const now = new Date();
    await utimes(entry, now, now).catch(ignored);
    try {
      return await compile(entry);
    } catch {
      await rm(entry, { recursive: true, force: true }).catch(ignored);
      return compile();
    }
  }

  async #keep<T>(entry: string, compile: Compile<T>): Promise<T> {
    const temporary = `${entry}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
    own.add(temporary);
    try {
      const made = await mkdir(temporary, { recursive: true }).catch(ignored);
      if (made === undefined) return await compile();
      const compiled = await compile(temporary);
      await this.#complete(temporary, entry).catch(ignored); // a full disk, another process that was faster
      return compiled;
    } finally {
      await rm(temporary, { recursive: true, force: true }).catch(ignored);
      own.delete(temporary);
    }
  }

  async #complete(temporary: string, entry: string): Promise<void> {
    await writeFile(join(temporary, digestFile), await digestsIn(temporary));
    await rm(entry, { recursive: true, force: true });
    await rename(temporary, entry);
    await this.#tidy();
  }

  /** Removes what was not used for the longest time, and what processes that were killed left behind. */
  async #tidy(): Promise<void> {
    const kept: { readonly path: string; readonly used: number }[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const [, owner] = /^[0-9a-f]{64}\.(\d+)-[0-9a-f]{8}\.tmp$/.exec(name) ?? [];
      if (owner !== undefined && !own.has(path) && !isAnother(Number(owner))) await rm(path, { recursive: true, force: true });
      if (/^[0-9a-f]{64}$/.test(name)) kept.push({ path, used: (await stat(path)).mtimeMs });
    }
    const oldest = kept.sort((a, b) => b.used - a.used).slice(MOST_KEPT);
    for (const { path } of oldest) await rm(path, { recursive: true, force: true });
  }
}

/** Whether a folder holds what it held when it was completed. */
async function isIntact(entry: string): Promise<boolean> {
  try {
    const digests = await readFile(join(entry, digestFile), "utf8");
    return digests !== "" && digests === (await digestsIn(entry));
  } catch {
    return false;
  }
}

async function digestsIn(folder: string): Promise<string> {
  let digests = "";
  for (const name of (await readdir(folder)).sort()) {
    if (name === digestFile) continue;
    const content = await readFile(join(folder, name));
    digests += `${createHash("sha256").update(content).digest("hex")}  ${name}\n`;
  }
  return digests;
}

/** Whether a process of this number, other than this one, is alive. */
function isAnother(processId: number): boolean {
  if (processId === process.pid) return false;
  try {
    return process.kill(processId, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // it is somebody else's
  }
}

const ignored = (): undefined => undefined;
