/** What the readers of all kinds of files give: rows in batches, good and bad, each with the place behind it. */

/** Where reading can go on: so many rows, and in files that have lines so many lines and bytes, lie before it. */
export interface RowCursor {
  readonly row: number;
  readonly line: number;
  /** Of the file as it is when decompressed. */
  readonly byte: number;
}

export const startOfFile: RowCursor = { row: 0, line: 0, byte: 0 };

export interface RawRow {
  /** What stands there; meaningless where there is a problem. */
  readonly value: unknown;
  readonly problem?: { readonly field?: string; readonly problem: string };
  /** The line on which it begins, counted from 1; absent in files without lines. */
  readonly line?: number;
  /** Whether the next row goes on with the same document (long plain texts). */
  readonly continues?: boolean;
  readonly after: RowCursor;
}

/** The bytes of a file, decompressed, from an offset on. */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  bytes(from: number): AsyncIterable<Uint8Array>;
}

/** A longer value cannot become a JavaScript string. */
export const longestValueBytes = 256 * 2 ** 20;

export const tooLong = (bytes: number): string =>
  `is ${Math.round(bytes / 2 ** 20)} MiB long, and ${longestValueBytes / 2 ** 20} MiB is the most that is read as one`;
