/** JSON Lines: one row a line. Blank lines are no rows. */

import { type ByteSource, longestValueBytes, type RawRow, type RowCursor, tooLong } from "./raw-row.js";
import { concatBytes, decodeText, textChunks } from "./utf8.js";

const newline = 0x0a;

export async function* readJsonl(source: ByteSource, from: RowCursor): AsyncGenerator<readonly RawRow[]> {
  let { row, line } = from;
  let pieces: Uint8Array[] = [];
  let end = from.byte;
  let held = 0; // bytes of the unfinished line; beyond the limit they are counted only

  const hold = (piece: Uint8Array) => {
    held += piece.length;
    if (held > longestValueBytes) pieces = [];
    else if (piece.length > 0) pieces.push(piece);
  };
  /** The row of the line that has been held, which ends at `byte`. */
  const finish = (byte: number): RawRow | undefined => {
    line++;
    const length = held;
    const bytes = pieces.length > 0 ? concatBytes(pieces) : new Uint8Array();
    pieces = [];
    held = 0;
    if (length <= longestValueBytes && isBlank(bytes)) return undefined;
    row++;
    const after = { row, line, byte };
    if (length > longestValueBytes) return { value: undefined, problem: { problem: tooLong(length) }, line, after };
    return { ...parseJson(bytes), line, after };
  };

  for await (const { chunk, offset } of textChunks(source, from.byte)) {
    const rows: RawRow[] = [];
    let start = 0;
    for (let stop = chunk.indexOf(newline); stop >= 0; stop = chunk.indexOf(newline, start)) {
      hold(chunk.subarray(start, stop));
      start = stop + 1;
      const found = finish(offset + start);
      if (found) rows.push(found);
    }
    if (start < chunk.length) hold(chunk.slice(start));
    if (rows.length > 0) yield rows;
    end = offset + chunk.length;
  }
  const last = held > 0 ? finish(end) : undefined;
  if (last) yield [last];
}

/** Python's json writes NaN and Infinity, which JSON does not have: they are read as null. Undefined where the text is no JSON even so. */
function withoutNaN(text: string): unknown {
  if (!/NaN|Infinity/.test(text)) return undefined;
  try {
    return JSON.parse(
      text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (part) => (part.startsWith('"') ? part : "null")),
    );
  } catch {
    return undefined;
  }
}

const isBlank = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09);

/** The value that `bytes` spell, or what is wrong with them. */
export function parseJson(bytes: Uint8Array): Pick<RawRow, "value" | "problem"> {
  const decoded = decodeText(bytes);
  if ("problem" in decoded) return { value: undefined, problem: decoded };
  try {
    return { value: JSON.parse(decoded.text) as unknown };
  } catch (cause) {
    const value = withoutNaN(decoded.text);
    if (value !== undefined) return { value };
    return { value: undefined, problem: { problem: `is not JSON: ${(cause as Error).message}` } };
  }
}
