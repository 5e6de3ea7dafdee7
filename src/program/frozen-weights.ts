/** Values of variables that become constants of a program. */

import { writeScratch } from "#platform/program/scratch";
import type { ExternalFile } from "../engine/engine.js";
import { bytesPerElement } from "../graph/dtype.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import type { Variable } from "../graph/variable.js";
import type { ExternalConstant } from "../onnx/writer.js";

export interface FrozenWeights {
  readonly constants: ReadonlyMap<string, HostArray | ExternalConstant>;
  readonly externalFiles: readonly ExternalFile[];
  /** When the engine has loaded the model. */
  loaded(): Promise<void>;
}

/**
 * An ONNX model is one message of at most 2 GiB, and several copies of it exist while it is written and read. Beyond this, values
 * that lie in no file are put into one, tensor by tensor.
 */
const mostInlineBytes = 2 ** 28;

/** Values where they lie in files, when they do, else their data. */
export async function frozenWeights(
  variables: ReadonlyMap<string, Variable>,
  { mostInline = mostInlineBytes }: { readonly mostInline?: number } = {},
): Promise<FrozenWeights> {
  let inlineBytes = 0;
  for (const { file, dtype, shape } of variables.values()) if (!file) inlineBytes += bytesPerElement(dtype) * elementCount(shape);
  if (inlineBytes > mostInline) {
    // All of them, so that they lie in one folder: OpenVINO maps files of one only.
    const scratch = await writeScratch(variables);
    if (scratch) return scratch;
  }
  const constants = new Map<string, HostArray | ExternalConstant>();
  const files = new Map<string, ExternalFile>();
  for (const [name, variable] of variables) {
    const { file } = variable;
    if (!file) {
      constants.set(name, await variable.read());
      continue;
    }
    const location = files.get(file.path)?.location ?? `weights-${files.size}`;
    files.set(file.path, { location, path: file.path });
    const { byteOffset: offset, byteLength: length, dtype } = file;
    constants.set(name, { location, offset, length, ...(dtype ? { dtype } : {}) });
  }
  return { constants, externalFiles: [...files.values()], loaded: async () => undefined };
}
