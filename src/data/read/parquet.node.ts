/** Parquet files, one row group at a time: that is the least that can be read, and what is in memory at once. */

import { open } from "node:fs/promises";
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { TsumikiError } from "../../errors.js";
import type { RawRow, RowCursor } from "./raw-row.js";

/** @param onRead is told how many bytes were read */
export async function* readParquet(
  path: string,
  from: RowCursor,
  onRead: (bytes: number) => void = () => {},
): AsyncGenerator<readonly RawRow[]> {
  await using handle = await open(path);
  const { size } = await handle.stat();
  const file: AsyncBuffer = {
    byteLength: size,
    async slice(start, end = size) {
      const bytes = new Uint8Array(end - start);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
      if (bytesRead < bytes.length) throw new Error(`${path} became shorter while it was read`);
      onRead(bytesRead);
      return bytes.buffer;
    },
  };
  try {
    const metadata = await parquetMetadataAsync(file);
    let groupStart = 0;
    for (const { num_rows } of metadata.row_groups) {
      const groupEnd = groupStart + Number(num_rows);
      if (groupEnd > from.row) {
        const rowStart = Math.max(groupStart, from.row);
        const rows = await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd: groupEnd });
        yield rows.map((value, i) => ({ value: plain(value), after: { row: rowStart + i + 1, line: 0, byte: 0 } }));
      }
      groupStart = groupEnd;
    }
  } catch (cause) {
    throw new TsumikiError("DATA", `${path} cannot be read as Parquet: ${(cause as Error).message}`, { cause });
  }
}

/** Whole numbers as numbers where they fit, as everywhere else in data. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
