/**
 * Weights that lie in files, for onnxruntime-node. It maps them into memory, at any offset, when the model names them by a
 * path below a folder that the session is told of; it takes neither absolute paths nor, without copying, bytes.
 */

import { parse, relative, resolve, sep } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { TsumikiError } from "../../errors.js";
import { ModelProtoSchema } from "../../onnx/schema/onnx_pb.js";
import type { ExternalFile } from "../engine.js";

/** The model with its external data named by paths below `folder`, the root of the file system. */
export function locateExternalFiles(model: Uint8Array, files: readonly ExternalFile[]): { model: Uint8Array; folder: string } {
  const paths = new Map(files.map(({ location, path }) => [location, resolve(path)]));
  const [folder, ...others] = new Set([...paths.values()].map((path) => parse(path).root));
  if (folder === undefined || others.length > 0)
    throw new TsumikiError(
      "ENGINE",
      `The weights of one model must lie on one drive, but they are in ${[...paths.values()].join(", ")}.`,
    );
  const proto = fromBinary(ModelProtoSchema, model);
  for (const { externalData } of proto.graph?.initializer ?? [])
    for (const entry of externalData) {
      const path = entry.key === "location" ? paths.get(entry.value) : undefined;
      if (path !== undefined) entry.value = relative(folder, path).split(sep).join("/");
    }
  return { model: toBinary(ModelProtoSchema, proto), folder };
}
