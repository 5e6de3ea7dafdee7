/**
 * Weights that lie in files. OpenVINO maps them into memory where it takes them, at any offset; but a model that it reads from
 * memory may name none outside the working directory. Those are read and become part of the model.
 */

import { closeSync, openSync, readSync } from "node:fs";
import { isAbsolute, relative, resolve, sep } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { TsumikiError } from "../../errors.js";
import { TensorProto_DataLocation as DataLocation, ModelProtoSchema, type TensorProto } from "../../onnx/schema/onnx_pb.js";
import type { ExternalFile } from "../engine.js";

/** A model is one protobuf message, which cannot be longer. */
const largestModelBytes = 2 ** 31 - 1;

/** The model with its external data where OpenVINO can get at it. Throws ENGINE where a file is missing or too short. */
export function takeExternalFiles(
  model: Uint8Array,
  files: readonly ExternalFile[],
  workingDirectory = process.cwd(),
): Uint8Array {
  const paths = new Map(files.map(({ location, path }) => [location, resolve(path)]));
  const proto = fromBinary(ModelProtoSchema, model);
  let bytes = model.byteLength;
  for (const tensor of proto.graph?.initializer ?? []) {
    const location = tensor.externalData.find(({ key }) => key === "location");
    const path = location && paths.get(location.value);
    if (!path) continue;
    const below = relative(workingDirectory, path);
    if (!below.startsWith("..") && !isAbsolute(below)) location.value = below.split(sep).join("/");
    else {
      bytes += inline(tensor, path);
      if (bytes > largestModelBytes)
        throw new TsumikiError(
          "ENGINE",
          `openvino takes weights of more than 2 GiB only out of files below the working directory, which is ${workingDirectory}, ` +
            `but these are in ${path}. Start the program in a folder above them.`,
        );
    }
  }
  return toBinary(ModelProtoSchema, proto);
}

/** Replaces a place in a file by what is there, and returns how many bytes that is. */
function inline(tensor: TensorProto, path: string): number {
  const field = (name: string) => Number(tensor.externalData.find(({ key }) => key === name)?.value ?? 0);
  tensor.rawData = readPart(path, field("offset"), field("length"));
  tensor.externalData = [];
  tensor.dataLocation = DataLocation.DEFAULT;
  return tensor.rawData.byteLength;
}

function readPart(path: string, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  try {
    const file = openSync(path, "r");
    try {
      let filled = 0;
      for (let count = -1; filled < length && count !== 0; filled += count)
        count = readSync(file, bytes, filled, length - filled, offset + filled);
      if (filled < length) throw new Error(`it ends before byte ${offset + length}`);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new TsumikiError("ENGINE", `openvino could not read the weights in ${path}: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  return bytes;
}
