/**
 * The safetensors format (https://huggingface.co/docs/safetensors): eight bytes of little-endian header length, a JSON header
 * that gives each tensor a dtype, a shape and a place, and the data, row-major and little-endian, without gaps. Nothing here
 * needs Node.
 */

import * as z from "zod";
import { TsumikiError } from "../errors.js";
import { allocate, bytesPerElement, checkArray, type DType, type TypedArray } from "../graph/dtype.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import { decodeFloat8, type Float8Format } from "./float8.js";

/** Free text beside the tensors, such as `{ format: "pt" }`, which Python's `transformers` asks for. */
export type SafetensorsMetadata = Readonly<Record<string, string>>;

/** Where a tensor lies. */
export interface TensorLayout {
  /** What it is read as. */
  readonly dtype: DType;
  /** Set where it lies there in 8 bits; it is read as float32. */
  readonly float8?: Float8Format;
  readonly shape: readonly number[];
  /** From the first byte of the file, header included. Not aligned to the element size unless the writer saw to it. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface SafetensorsHeader {
  readonly metadata: SafetensorsMetadata;
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorLayout>;
}

/** What is known of a tensor before its data is. */
export interface TensorDescription {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Bytes of the header length at the start of a file. */
export const lengthBytes = 8;

/** The limit of the reference implementation: a longer header is an attack, not a model. */
const maxHeaderBytes = 100_000_000;

const metadataKey = "__metadata__";

/**
 * The format's names, in the order in which the reference implementation writes them: widest first, so that all data is aligned.
 */
const formatNames = {
  uint64: "U64",
  int64: "I64",
  float64: "F64",
  float32: "F32",
  uint32: "U32",
  int32: "I32",
  bfloat16: "BF16",
  float16: "F16",
  uint16: "U16",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
} as const satisfies Record<DType, string>;

const dtypesByFormatName = new Map(Object.entries(formatNames).map(([dtype, name]) => [name as string, dtype as DType]));
/** Read, but not written: nothing here computes in them. */
const float8Names: Readonly<Record<string, Float8Format>> = { F8_E4M3: "e4m3", F8_E5M2: "e5m2" };

const writingOrder = Object.keys(formatNames);
const writingRank = (dtype: DType): number => writingOrder.indexOf(dtype);

const naturalNumber = z.int().nonnegative();
const tensorSchema = z.object({
  dtype: z.string(),
  shape: z.array(naturalNumber),
  data_offsets: z.tuple([naturalNumber, naturalNumber]),
});

const isMetadata = (value: unknown): value is SafetensorsMetadata =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  Object.values(value).every((text) => typeof text === "string");

/** Reads the header length from the first bytes of a file of `fileBytes` bytes. `source` names the file in errors. */
export function readHeaderLength(start: Uint8Array, fileBytes: number, source: string): number {
  if (start.length < lengthBytes)
    throw unreadable(
      source,
      `it has ${fileBytes} bytes, and the header length alone takes ${lengthBytes}; it is truncated or empty`,
    );
  const length = new DataView(start.buffer, start.byteOffset, lengthBytes).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    throw unreadable(
      source,
      `its header is said to have ${length} bytes, more than the ${maxHeaderBytes} allowed; this is another format`,
    );
  if (length > BigInt(fileBytes - lengthBytes))
    throw unreadable(
      source,
      `its header is said to have ${length} bytes, but only ${fileBytes - lengthBytes} follow; it is truncated or another format`,
    );
  return Number(length);
}

/**
 * Parses and validates the JSON header of a file of `fileBytes` bytes: every tensor has a known dtype, the bytes that its shape
 * asks for, and a place of its own, and together they cover the data exactly. Throws `CHECKPOINT` otherwise, naming every tensor
 * that is wrong.
 */
export function parseHeader(header: Uint8Array, fileBytes: number, source: string): SafetensorsHeader {
  const { [metadataKey]: metadata = {}, ...descriptions } = parseJsonObject(header, source);
  if (!isMetadata(metadata)) throw unreadable(source, `its ${metadataKey} does not map texts to texts`);

  const dataStart = lengthBytes + header.length;
  const problems: string[] = [];
  const layouts = Object.entries(descriptions)
    .flatMap(([name, value]) => {
      const layout = parseTensor(value, dataStart, fileBytes, (problem) => problems.push(`tensor ${quote(name)} ${problem}`));
      return layout ? [[name, layout] as const] : [];
    })
    .sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);

  // Where a tensor is described wrongly, nobody knows which bytes are its own.
  if (problems.length === 0) problems.push(...coverageProblems(layouts, dataStart, fileBytes));
  if (problems.length > 0) throw unreadable(source, problems.join(";\n  "));
  return { metadata, tensors: new Map(layouts) };
}

/** Overlaps and gaps. */
function coverageProblems(layouts: readonly (readonly [string, TensorLayout])[], dataStart: number, fileBytes: number): string[] {
  const problems: string[] = [];
  let end = dataStart;
  let previous: string | undefined;
  for (const [name, { byteOffset, byteLength }] of layouts) {
    if (byteOffset < end) problems.push(`the data of tensors ${quote(previous ?? "")} and ${quote(name)} overlap`);
    if (byteOffset > end) problems.push(`${byteOffset - end} bytes before tensor ${quote(name)} belong to no tensor`);
    if (byteOffset + byteLength < end) continue;
    end = byteOffset + byteLength;
    previous = name;
  }
  if (end !== fileBytes) problems.push(`${fileBytes - end} bytes at its end belong to no tensor`);
  return problems;
}

function parseJsonObject(header: Uint8Array, source: string): Record<string, unknown> {
  let json: string;
  let value: unknown;
  try {
    json = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
    value = JSON.parse(json);
  } catch (cause) {
    throw unreadable(source, "its header is not JSON in UTF-8", cause);
  }
  // The format asks for `{` as the first byte, which also keeps a byte order mark and leading white space out.
  if (!json.startsWith("{")) throw unreadable(source, "its header does not begin with {");
  const duplicate = findDuplicateKey(json);
  if (duplicate !== undefined) throw unreadable(source, `its header gives ${quote(duplicate)} twice`);
  return value as Record<string, unknown>;
}

/** `undefined` after a problem was told. */
function parseTensor(
  value: unknown,
  dataStart: number,
  fileBytes: number,
  tell: (problem: string) => void,
): TensorLayout | undefined {
  const parsed = tensorSchema.safeParse(value);
  if (!parsed.success) return void tell(`is described wrongly${issues(parsed.error)}`);
  const { dtype: formatName, shape, data_offsets } = parsed.data;
  const [begin, end] = data_offsets;
  const float8 = Object.hasOwn(float8Names, formatName) ? float8Names[formatName] : undefined;
  const dtype = float8 ? "float32" : dtypesByFormatName.get(formatName);
  if (dtype === undefined) {
    const known = [...dtypesByFormatName.keys(), ...Object.keys(float8Names)];
    return void tell(`has the dtype ${quote(formatName)}, which is not one of ${known.join(", ")}`);
  }
  const byteLength = bytesOf(float8 ? "uint8" : dtype, shape);
  if (byteLength === undefined) return void tell(`has the impossible shape [${shape.join(", ")}]`);
  if (end - begin !== byteLength)
    return void tell(
      `of dtype ${formatName} and shape [${shape.join(", ")}] takes ${byteLength} bytes, ` +
        `but its data_offsets [${begin}, ${end}] hold ${end - begin}`,
    );
  const dataBytes = fileBytes - dataStart;
  if (end > dataBytes)
    return void tell(`ends at byte ${end} of the data, but only ${dataBytes} are there; the file is truncated`);
  return { dtype, shape, byteOffset: dataStart + begin, byteLength, ...(float8 ? { float8 } : {}) };
}

/** `undefined` where the count is no longer exact. */
function bytesOf(dtype: DType, shape: readonly number[]): number | undefined {
  const bytes = shape.includes(0) ? 0 : elementCount(shape) * bytesPerElement(dtype);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The first key that an object in `json` (valid JSON) has twice; `JSON.parse` would keep the last of them in silence. */
function findDuplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // the keys of each object around; undefined stands for an array
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === "{") open.push(new Set());
    else if (character === "[") open.push(undefined);
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const start = i;
      for (i++; json[i] !== '"'; i++) if (json[i] === "\\") i++;
      let next = i + 1;
      while (json.charCodeAt(next) <= 0x20) next++;
      if (json[next] !== ":") continue; // a value, not a key
      const key: string = JSON.parse(json.slice(start, i + 1));
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

/** A file about to be written: its first bytes, and its tensors in the order of their data. */
export interface SafetensorsPlan<T extends TensorDescription> {
  /** Header length and header, padded with spaces so that the data begins at a multiple of 8. */
  readonly start: Uint8Array;
  readonly tensors: readonly { readonly tensor: T; readonly byteOffset: number; readonly byteLength: number }[];
  readonly fileBytes: number;
}

/** Lays a file out byte for byte as the Python library does: tensors by falling width of their dtype, then by name. */
export function planSafetensors<T extends TensorDescription>(
  tensors: Iterable<T>,
  metadata: SafetensorsMetadata = {},
): SafetensorsPlan<T> {
  const sorted = [...tensors];
  checkDescriptions(sorted);
  sorted.sort((a, b) => writingRank(a.dtype) - writingRank(b.dtype) || compareCodePoints(a.name, b.name));

  const fields: string[] = [];
  if (Object.keys(metadata).length > 0)
    fields.push(`${JSON.stringify(metadataKey)}:${JSON.stringify(checkedMetadata(metadata))}`);
  const placed: { tensor: T; begin: number; byteLength: number }[] = [];
  let dataBytes = 0;
  for (const tensor of sorted) {
    const { name, dtype, shape } = tensor;
    const byteLength = bytesOf(dtype, shape) as number; // checked above
    const description = { dtype: formatNames[dtype], shape, data_offsets: [dataBytes, dataBytes + byteLength] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(description)}`);
    placed.push({ tensor, begin: dataBytes, byteLength });
    dataBytes += byteLength;
  }

  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  if (headerBytes > maxHeaderBytes)
    throw new TsumikiError(
      "CHECKPOINT",
      `The header of a safetensors file may have ${maxHeaderBytes} bytes, ` +
        `but ${placed.length} tensors and the metadata take ${headerBytes}.`,
    );
  const start = new Uint8Array(lengthBytes + headerBytes).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(headerBytes), true);
  start.set(json, lengthBytes);
  return {
    start,
    tensors: placed.map(({ tensor, begin, byteLength }) => ({ tensor, byteOffset: start.length + begin, byteLength })),
    fileBytes: start.length + dataBytes,
  };
}

function checkDescriptions(tensors: readonly TensorDescription[]): void {
  const seen = new Set<string>();
  for (const { name, dtype, shape } of tensors) {
    if (name === metadataKey) throw unwritable(name, "the format keeps this name for itself");
    if (hasLoneSurrogate(name)) throw unwritable(name, "its name is not valid Unicode");
    if (seen.has(name)) throw unwritable(name, "it is given twice");
    seen.add(name);
    if (!Object.hasOwn(formatNames, dtype))
      throw unwritable(name, `its dtype is ${quote(dtype)}; known are ${Object.keys(formatNames).join(", ")}`);
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || bytesOf(dtype, shape) === undefined)
      throw unwritable(name, `its shape is [${shape.join(", ")}]`);
  }
}

/** The order of the names' UTF-8 bytes. In UTF-16 the halves of characters beyond U+FFFF would come before U+E000. */
function compareCodePoints(a: string, b: string): number {
  const rank = (unit: number) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = rank(a.charCodeAt(i)) - rank(b.charCodeAt(i));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

const hasLoneSurrogate = (text: string): boolean => /\p{Surrogate}/u.test(text);

function checkedMetadata(metadata: SafetensorsMetadata): SafetensorsMetadata {
  for (const [key, value] of Object.entries(metadata))
    if (typeof value !== "string" || hasLoneSurrogate(key) || hasLoneSurrogate(value))
      throw new TsumikiError(
        "CHECKPOINT",
        `The metadata of a safetensors file maps text to text, but ${quote(key)} is ${JSON.stringify(value)}.`,
      );
  return metadata;
}

/** The bytes of `data` after checking that it holds what `tensor` promises. */
export function tensorBytes({ name, dtype, shape }: TensorDescription, data: TypedArray): Uint8Array {
  try {
    checkArray(dtype, data, "Its dtype");
  } catch (cause) {
    throw unwritable(name, (cause as Error).message, cause);
  }
  const expected = elementCount(shape);
  if (data.length !== expected)
    throw unwritable(name, `its shape [${shape.join(", ")}] has ${expected} elements, but its data ${data.length}`);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** A whole safetensors file in memory. Throws `CHECKPOINT` where a name, a shape or data cannot be written. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, HostArray>,
  metadata: SafetensorsMetadata = {},
): Uint8Array<ArrayBuffer> {
  const plan = planSafetensors(
    [...tensors].map(([name, array]) => ({ name, ...array })),
    metadata,
  );
  const file = new Uint8Array(plan.fileBytes);
  file.set(plan.start);
  for (const { tensor, byteOffset } of plan.tensors) file.set(tensorBytes(tensor, tensor.data), byteOffset);
  return file;
}

/**
 * Reads a whole safetensors file from memory; the arrays are copies. Throws `CHECKPOINT` where the file is truncated or foreign.
 */
export function decodeSafetensors(
  file: Uint8Array,
  source = "The safetensors data",
): { metadata: SafetensorsMetadata; tensors: Map<string, HostArray> } {
  const headerLength = readHeaderLength(file.subarray(0, lengthBytes), file.length, source);
  const { metadata, tensors } = parseHeader(file.subarray(lengthBytes, lengthBytes + headerLength), file.length, source);
  const arrays = new Map<string, HostArray>();
  for (const [name, layout] of tensors) {
    const { bytes, finish } = tensorBuffer(layout);
    bytes.set(file.subarray(layout.byteOffset, layout.byteOffset + layout.byteLength));
    arrays.set(name, finish());
  }
  return { metadata, tensors: arrays };
}

/** Memory for the bytes of a tensor, and the tensor once they are there. */
export function tensorBuffer({ dtype, shape, float8 }: TensorLayout): { bytes: Uint8Array; finish: () => HostArray } {
  if (float8) {
    const bytes = new Uint8Array(elementCount(shape));
    return { bytes, finish: () => ({ dtype: "float32", shape, data: decodeFloat8(float8, bytes) }) };
  }
  const data: TypedArray = allocate(dtype, elementCount(shape));
  return {
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    finish: () => ({ dtype, shape, data }) as HostArray,
  };
}

const quote = (text: string): string => JSON.stringify(text);

const issues = (error: z.ZodError): string =>
  `: ${error.issues.map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message)).join("; ")}`;

export const unreadable = (source: string, problem: string, cause?: unknown): TsumikiError =>
  new TsumikiError("CHECKPOINT", `${source} cannot be read as safetensors: ${problem}.`, { cause });

const unwritable = (name: string, problem: string, cause?: unknown): TsumikiError =>
  new TsumikiError("CHECKPOINT", `Tensor ${quote(name)} cannot be written: ${problem}.`, { cause });
