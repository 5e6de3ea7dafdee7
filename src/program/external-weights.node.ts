/** Weights one after the other in a file, from which an engine maps them. */

import type { FileHandle } from "node:fs/promises";
import { writeFully } from "../files/bytes.node.js";
import type { Variable } from "../graph/variable.js";
import type { ExternalConstant } from "../onnx/writer.js";

/** At multiples of a page a file can be mapped into memory. */
const page = 4096;

/** Writes the values of variables, one at a time in memory, and says where in the file (that models call `location`) they lie. */
export async function writeExternalWeights(
  file: FileHandle,
  location: string,
  variables: ReadonlyMap<string, Variable>,
): Promise<Map<string, ExternalConstant>> {
  const constants = new Map<string, ExternalConstant>();
  let end = 0;
  for (const [name, variable] of variables) {
    const { data } = await variable.read();
    const offset = Math.ceil(end / page) * page;
    await writeFully(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    constants.set(name, { location, offset, length: data.byteLength });
    end = offset + data.byteLength;
  }
  return constants;
}
