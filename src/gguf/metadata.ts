/** The entries of a GGUF file besides its tensors: typed on the way out, checked on the way in. */

import { GGUFValueType } from "@huggingface/gguf";
import { TsumikiError } from "../errors.js";

export interface MetadataEntry {
  readonly type: GGUFValueType;
  readonly value: unknown;
  readonly subType?: GGUFValueType;
}

export const text = (value: string): MetadataEntry => ({ type: GGUFValueType.STRING, value });
export const uint32 = (value: number): MetadataEntry => ({ type: GGUFValueType.UINT32, value });
export const float32 = (value: number): MetadataEntry => ({ type: GGUFValueType.FLOAT32, value });
export const bool = (value: boolean): MetadataEntry => ({ type: GGUFValueType.BOOL, value });

const list = (subType: GGUFValueType, value: readonly unknown[]): MetadataEntry => ({
  type: GGUFValueType.ARRAY,
  subType,
  value,
});
export const texts = (value: readonly string[]): MetadataEntry => list(GGUFValueType.STRING, value);
export const int32s = (value: readonly number[]): MetadataEntry => list(GGUFValueType.INT32, value);
export const float32s = (value: readonly number[]): MetadataEntry => list(GGUFValueType.FLOAT32, value);
/** Signed, which readers take as well: the library refuses unsigned ones. */
export const signedBytes = (value: Uint8Array): MetadataEntry => list(GGUFValueType.INT8, [...new Int8Array(value)]);

/**
 * What a file says under names that begin alike, `llama.` for example. Each is undefined where the file does not say it.
 *
 * @throws TsumikiError CHECKPOINT where a value is of another type
 */
export interface MetadataReader {
  text(key: string): string | undefined;
  number(key: string): number | undefined;
  flag(key: string): boolean | undefined;
  texts(key: string): readonly string[] | undefined;
  numbers(key: string): readonly number[] | undefined;
}

export function metadataReader(metadata: Readonly<Record<string, unknown>>, prefix: string, source: string): MetadataReader {
  const read = <T>(key: string, expected: string, convert: (value: unknown) => T | undefined): T | undefined => {
    const value = metadata[prefix + key];
    if (value === undefined || value === null) return undefined;
    const converted = convert(value);
    if (converted !== undefined) return converted;
    throw new TsumikiError("CHECKPOINT", `${source} cannot be read here: its ${prefix}${key} is not ${expected}.`);
  };
  const listOf =
    <T>(convert: (value: unknown) => T | undefined) =>
    (value: unknown): readonly T[] | undefined => {
      if (!Array.isArray(value)) return undefined;
      const items = value.map(convert);
      return items.includes(undefined) ? undefined : (items as T[]);
    };
  return {
    text: (key) => read(key, "a text", asText),
    number: (key) => read(key, "a number", asNumber),
    flag: (key) => read(key, "true or false", (value) => (typeof value === "boolean" ? value : undefined)),
    texts: (key) => read(key, "a list of texts", listOf(asText)),
    numbers: (key) => read(key, "a list of numbers", listOf(asNumber)),
  };
}

const asText = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const asNumber = (value: unknown): number | undefined =>
  typeof value === "number" ? value : typeof value === "bigint" ? Number(value) : undefined;
