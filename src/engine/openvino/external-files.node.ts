/**
 * Weights that lie in files. OpenVINO maps them into memory where it takes them, at any offset; but a model may name none outside
 * the folder of its own file, or the working directory when it is read from memory, and links count as what they lead to. So the
 * model is put beside its weights while it is read; where that cannot be done, they are read and become part of the model.
 */

import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { TsumikiError } from "../../errors.js";
import { TensorProto_DataLocation as DataLocation, ModelProtoSchema, type TensorProto } from "../../onnx/schema/onnx_pb.js";
import type { ExternalFile } from "../engine.js";

/** A model is one protobuf message, which cannot be longer. */
const largestModelBytes = 2 ** 31 - 1;

/** How OpenVINO reads a model. */
export interface ModelReaders<Model> {
  fromMemory(model: Uint8Array): Promise<Model>;
  fromFile(path: string): Promise<Model>;
}

/** Reads a model whose weights lie in files. Throws ENGINE where one of them is missing or too short. */
export async function readWithFiles<Model>(
  model: Uint8Array,
  files: readonly ExternalFile[],
  { fromMemory, fromFile }: ModelReaders<Model>,
): Promise<Model> {
  const folders = new Set(files.map(({ path }) => dirname(realPath(path))));
  const [folder] = folders;
  if (folder === undefined || folders.size > 1 || isBelow(process.cwd(), folder))
    return fromMemory(takeExternalFiles(model, files));
  const beside = join(folder, `.tsumiki-${randomBytes(6).toString("hex")}.onnx`);
  try {
    writeFileSync(beside, locatedBeside(model, files), { flag: "wx" });
  } catch {
    rmSync(beside, { force: true });
    return fromMemory(takeExternalFiles(model, files)); // a folder that is not ours to write into
  }
  try {
    return await fromFile(beside);
  } finally {
    rmSync(beside, { force: true });
  }
}

function locatedBeside(model: Uint8Array, files: readonly ExternalFile[]): Uint8Array {
  const names = new Map(files.map(({ location, path }) => [location, basename(realPath(path))]));
  const proto = fromBinary(ModelProtoSchema, model);
  for (const { externalData } of proto.graph?.initializer ?? [])
    for (const entry of externalData) if (entry.key === "location") entry.value = names.get(entry.value) ?? entry.value;
  return toBinary(ModelProtoSchema, proto);
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path); // whoever reads it says what is wrong
  }
}

function isBelow(folder: string, path: string): boolean {
  const below = relative(folder, path);
  return !below.startsWith("..") && !isAbsolute(below);
}

/** The model with its external data where OpenVINO can get at it. Throws ENGINE where a file is missing or too short. */
export function takeExternalFiles(
  model: Uint8Array,
  files: readonly ExternalFile[],
  workingDirectory = process.cwd(),
): Uint8Array {
  const paths = new Map(files.map(({ location, path }) => [location, realPath(path)]));
  const proto = fromBinary(ModelProtoSchema, model);
  let bytes = model.byteLength;
  for (const tensor of proto.graph?.initializer ?? []) {
    const location = tensor.externalData.find(({ key }) => key === "location");
    const path = location && paths.get(location.value);
    if (!path) continue;
    if (isBelow(workingDirectory, path)) location.value = relative(workingDirectory, path).split(sep).join("/");
    else {
      bytes += inline(tensor, path);
      if (bytes > largestModelBytes)
        throw new TsumikiError(
          "ENGINE",
          `openvino takes weights of more than 2 GiB only out of files in one folder that can be written to, or below the working ` +
            `directory, which is ${workingDirectory}, but these are in ${path}. Start the program in a folder above them.`,
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
