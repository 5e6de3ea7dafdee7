/**
 * 8-bit floats (Micikevicius et al. 2022, "FP8 formats for deep learning"), which checkpoints hold with scales beside them. They
 * are read as float32; nothing here computes in them.
 */

import { TsumikiError } from "../errors.js";
import { elementCount, type HostArray, toNumbers } from "../graph/host-array.js";

/** 4 bits of exponent and 3 of fraction, without infinities; or 5 and 2, like the upper half of a float16. */
export type Float8Format = "e4m3" | "e5m2";

const decoders = {
  e4m3(bits: number): number {
    const sign = bits & 0x80 ? -1 : 1;
    const exponent = (bits >> 3) & 0xf;
    const fraction = bits & 7;
    if (exponent === 15 && fraction === 7) return Number.NaN;
    return exponent === 0 ? sign * fraction * 2 ** -9 : sign * (8 + fraction) * 2 ** (exponent - 10);
  },
  e5m2(bits: number): number {
    const sign = bits & 0x80 ? -1 : 1;
    const exponent = (bits >> 2) & 0x1f;
    const fraction = bits & 3;
    if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    return exponent === 0 ? sign * fraction * 2 ** -16 : sign * (4 + fraction) * 2 ** (exponent - 17);
  },
} satisfies Record<Float8Format, (bits: number) => number>;

const tables = new Map<Float8Format, Float32Array>();

function tableOf(format: Float8Format): Float32Array {
  const table = tables.get(format) ?? Float32Array.from({ length: 256 }, (_, bits) => decoders[format](bits));
  tables.set(format, table);
  return table;
}

export function decodeFloat8(format: Float8Format, bytes: Uint8Array): Float32Array {
  const table = tableOf(format);
  const values = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) values[i] = table[bytes[i] as number] as number;
  return values;
}

/** What stands behind the name of an 8-bit tensor in that of its scales: DeepSeek's and Qwen's, and that of everybody else. */
const scaleSuffixes = ["_scale_inv", "_scale"];

/** The name of the scales of an 8-bit tensor, where there are any. They are factors, also where they are called `inv`. */
export const scaleNameOf = (name: string, tensors: ReadonlyMap<string, unknown>): string | undefined =>
  scaleSuffixes.map((suffix) => name + suffix).find((candidate) => tensors.has(candidate));

/** Scales of activations, of which a model that computes in wider floats has no use. */
export const isActivationScale = (name: string): boolean =>
  /\.(input_scale|activation_scale|output_scale|k_scale|v_scale)$/.test(name);

/** Rows and columns that share a scale in checkpoints that do not say how many (DeepSeek-V3, section 3.3.2). */
const usualBlock = 128;

/**
 * Multiplies values [..., rows, columns] in place by their scales: one for all, one a row, or one a block of rows and columns
 * [..., ⌈rows/block⌉, ⌈columns/block⌉].
 *
 * @throws TsumikiError CHECKPOINT where the scales have another shape
 */
export function applyScales(values: Float32Array, shape: readonly number[], scales: HostArray, name: string): void {
  const factors = toNumbers(scales);
  if (factors.length === 1) {
    for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) * (factors[0] as number);
    return;
  }
  const columns = shape.at(-1) ?? 1;
  const rows = shape.at(-2) ?? 1;
  const matrices = elementCount(shape.slice(0, -2));
  const [scaleRows, scaleColumns] =
    scales.shape.length === shape.length ? (scales.shape.slice(-2) as [number, number]) : [factors.length, 1];
  const blockRows = blockSize(rows, scaleRows);
  const blockColumns = blockSize(columns, scaleColumns);
  if (blockRows === undefined || blockColumns === undefined || factors.length !== matrices * scaleRows * scaleColumns)
    throw new TsumikiError(
      "CHECKPOINT",
      `The scales of ${name} [${shape.join(", ")}] have the shape [${scales.shape.join(", ")}], which gives neither all, nor rows, ` +
        `nor blocks of ${usualBlock} rows and columns one scale each.`,
    );
  for (let matrix = 0, i = 0; matrix < matrices; matrix++)
    for (let row = 0; row < rows; row++) {
      const scaleRow = (matrix * scaleRows + Math.floor(row / blockRows)) * scaleColumns;
      for (let column = 0; column < columns; column++, i++)
        values[i] = (values[i] as number) * (factors[scaleRow + Math.floor(column / blockColumns)] as number);
    }
}

/** How many of `size` share a scale when there are `scales`. */
function blockSize(size: number, scales: number): number | undefined {
  if (Math.ceil(size / usualBlock) === scales && scales > 1) return usualBlock;
  return size % scales === 0 ? size / scales : undefined;
}
