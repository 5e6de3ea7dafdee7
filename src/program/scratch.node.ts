/** A file for as long as an engine loads what is in it. */

import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TsumikiError } from "../errors.js";
import type { Variable } from "../graph/variable.js";
import type { ExternalConstant } from "../onnx/writer.js";
import { writeExternalWeights } from "./external-weights.node.js";
import type { FrozenWeights } from "./frozen-weights.js";

/**
 * Writes values into a file of the system's folder for temporary files, one tensor at a time.
 *
 * @throws TsumikiError ENGINE where there is no room for them
 */
export async function writeScratch(variables: ReadonlyMap<string, Variable>): Promise<FrozenWeights | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-weights-"));
  // A mapped file can be removed at once, but not on Windows: there it is tried again when the program ends.
  const remove = () => rm(folder, { recursive: true, force: true }).catch(() => removeAtExit(folder));
  const path = join(folder, "weights");
  const location = "weights-0";
  let constants: Map<string, ExternalConstant>;
  try {
    await using file = await open(path, "wx");
    constants = await writeExternalWeights(file, location, variables);
  } catch (cause) {
    await remove();
    if ((cause as NodeJS.ErrnoException).code !== "ENOSPC") throw cause;
    throw new TsumikiError("ENGINE", `There is no room in ${tmpdir()} for the weights on their way into the engine.`, { cause });
  }
  return { constants, externalFiles: [{ location, path }], loaded: remove };
}

const removedAtExit = new Set<string>();

async function removeAtExit(folder: string): Promise<void> {
  const { rmSync } = await import("node:fs");
  if (removedAtExit.size === 0)
    process.once("exit", () => {
      for (const left of removedAtExit)
        try {
          rmSync(left, { recursive: true, force: true });
        } catch {} // still mapped: the system clears the folder
    });
  removedAtExit.add(folder);
}
