/**
 * JSON files that may be larger than memory: the elements of an array, or values one after the other, are cut out and parsed one by
 * one, so that a mistake in one is that row's alone.
 */

import { parseJson } from "./jsonl.js";
import { type ByteSource, longestValueBytes, type RawRow, type RowCursor, tooLong } from "./raw-row.js";
import { concatBytes, textChunks } from "./utf8.js";

const code = (character: string): number => character.charCodeAt(0);
const [quote, backslash, comma, colon, newline] = [code('"'), code("\\"), code(","), code(":"), code("\n")];
const [openArray, closeArray, openObject, closeObject] = [code("["), code("]"), code("{"), code("}")];
const isSpace = (byte: number): boolean => byte === 0x20 || byte === newline || byte === 0x0d || byte === 0x09;

export async function* readJson(source: ByteSource, from: RowCursor): AsyncGenerator<readonly RawRow[]> {
  // An array can only be entered from its beginning: rows before the cursor are cut out and not parsed.
  for await (const rows of elements(source, from.row)) yield rows;
}

async function* elements(source: ByteSource, skip: number): AsyncGenerator<readonly RawRow[]> {
  /** Undefined until the first byte that is no space: an array's elements are rows, else each value is one. */
  let inArray: boolean | undefined;
  let ended = false;
  let depth = 0; // of brackets inside the value
  let inString = false;
  let escaped = false;
  let separated = true; // whether a comma or the array's beginning comes before what follows
  let line = 1;
  let row = 0;
  let begun: { readonly line: number; readonly misplaced: string | undefined } | undefined;
  let pieces: Uint8Array[] = [];
  let length = 0;
  let end = 0;

  const hold = (piece: Uint8Array) => {
    length += piece.length;
    if (length > longestValueBytes || row < skip) pieces = [];
    else if (piece.length > 0) pieces.push(piece);
  };
  const finish = (byte: number, unfinished = false): RawRow | undefined => {
    const { line: first, misplaced } = begun as { line: number; misplaced: string | undefined };
    const bytes = pieces.length > 0 ? concatBytes(pieces) : new Uint8Array();
    const size = length;
    begun = undefined;
    pieces = [];
    length = 0;
    if (++row <= skip) return undefined;
    const after = { row, line: line - 1, byte };
    const wrong = (problem: string): RawRow => ({ value: undefined, problem: { problem }, line: first, after });
    if (size > longestValueBytes) return wrong(tooLong(size));
    if (misplaced !== undefined) return wrong(misplaced);
    if (unfinished) return wrong("is not complete: the file ends inside it");
    return { ...parseJson(bytes), line: first, after };
  };

  for await (const { chunk, offset } of textChunks(source, 0)) {
    const rows: RawRow[] = [];
    const push = (found: RawRow | undefined) => found && rows.push(found);
    let start = begun ? -1 : 0; // of the value, in this chunk; -1 where it began in an earlier one
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i] as number;
      if (byte === newline) line++;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) inString = false;
        continue;
      }
      if (!begun) {
        if (isSpace(byte)) continue;
        if (inArray === undefined) {
          inArray = byte === openArray;
          if (inArray) continue;
        }
        if (inArray && !ended && byte === closeArray) {
          ended = true;
          separated = false;
          continue;
        }
        if (inArray && !ended && byte === comma && !separated) {
          separated = true;
          continue;
        }
        begun = { line, misplaced: inArray ? whyMisplaced(separated, ended) : undefined };
        separated = false;
        start = i;
        depth = 0;
      }
      if (byte === quote) inString = true;
      else if (byte === openArray || byte === openObject) depth++;
      else if (depth > 0 && (byte === closeArray || byte === closeObject)) {
        if (--depth === 0) {
          hold(chunk.subarray(Math.max(start, 0), i + 1));
          push(finish(offset + i + 1));
        }
      } else if (depth === 0 && (isSpace(byte) || byte === comma || byte === closeArray || byte === colon) && i > start) {
        // A number, a word or a text that stands by itself.
        hold(chunk.subarray(Math.max(start, 0), i));
        push(finish(offset + i));
        if (byte === comma) separated = true;
        if (byte === closeArray && inArray) ended = true;
      }
    }
    if (begun) hold(chunk.slice(Math.max(start, 0)));
    if (rows.length > 0) yield rows;
    end = offset + chunk.length;
  }
  if (begun) {
    // A value by itself may end with the file; brackets and texts that are still open may not.
    const last = finish(end, depth > 0 || inString || inArray === true);
    if (last) yield [last];
  } else if (inArray && !ended) {
    yield [
      {
        value: undefined,
        problem: { problem: "is missing: the file ends before the array's closing bracket" },
        line,
        after: { row: row + 1, line, byte: end },
      },
    ];
  }
}

const whyMisplaced = (separated: boolean, ended: boolean): string | undefined =>
  ended ? "stands behind the end of the array" : separated ? undefined : "is not JSON: there is no comma before it";
