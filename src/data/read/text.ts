/** Plain text: each file is one document, read in pieces where it is long. */

import { type ByteSource, type RawRow, type RowCursor, startOfFile } from "./raw-row.js";
import { concatBytes, decodeText, textChunks, validUtf8Length } from "./utf8.js";

/** Bytes from which on a document is cut, at the next end of a line that is followed by something else than space. */
export const textPieceBytes = 4 * 2 ** 20;
/** A piece is cut anywhere between characters when it has no such place before this. */
const longestPieceBytes = 4 * textPieceBytes;
const newline = 0x0a;

export async function* readText(source: ByteSource, from: RowCursor): AsyncGenerator<readonly RawRow[]> {
  let { row, line, byte } = from;
  let pieces: Uint8Array[] = [];
  let held = 0;
  let tryAt = textPieceBytes;

  const piece = (bytes: Uint8Array, continues: boolean): RawRow => {
    const first = line + 1;
    row++;
    line += countNewlines(bytes);
    byte += bytes.length;
    const decoded = decodeText(bytes);
    const common = { line: first, after: { row, line, byte }, ...(continues ? { continues } : {}) };
    if (!("problem" in decoded)) return { value: { text: decoded.text }, ...common };
    const wrong = first + countNewlines(bytes.subarray(0, validUtf8Length(bytes)));
    return { value: undefined, problem: { problem: decoded.problem }, ...common, line: wrong };
  };

  for await (const { chunk, offset } of textChunks(source, from.byte)) {
    if (held === 0 && row === startOfFile.row) byte = offset; // behind a byte order mark
    pieces.push(chunk.slice());
    held += chunk.length;
    if (held < tryAt) continue;
    let rest = concatBytes(pieces);
    for (let cut = placeToCut(rest); cut > 0; cut = placeToCut(rest)) {
      yield [piece(rest.subarray(0, cut), true)];
      rest = rest.subarray(cut);
    }
    pieces = [rest];
    held = rest.length;
    tryAt = held < textPieceBytes ? textPieceBytes : held + textPieceBytes / 4; // not after each chunk of a line without end
  }
  if (held > 0 || row === startOfFile.row) yield [piece(held > 0 ? concatBytes(pieces) : new Uint8Array(), false)];
}

/**
 * Where the first piece ends; 0 while there is not enough. Always with something left behind it, and where the next line begins with
 * no space: tokenizers cut there too, so that pieces have the tokens of the whole.
 */
function placeToCut(bytes: Uint8Array): number {
  if (bytes.length < textPieceBytes) return 0;
  for (let i = bytes.indexOf(newline, textPieceBytes - 1); i >= 0 && i + 1 < bytes.length; i = bytes.indexOf(newline, i + 1)) {
    if (i >= longestPieceBytes) break;
    if (!mayBeSpace(bytes[i + 1] as number)) return i + 1;
  }
  if (bytes.length <= longestPieceBytes) return 0;
  const end = longestPieceBytes - 4;
  const behindCharacter = [0, 1, 2, 3].find((more) => ((bytes[end + more] as number) & 0xc0) !== 0x80) ?? 0;
  return end + behindCharacter;
}

/** Whether a character that begins with this byte may be space (or a mark): those of Unicode begin with C2, E1, E2, E3 or EF. */
const mayBeSpace = (byte: number): boolean => byte <= 0x20 || [0xc2, 0xe1, 0xe2, 0xe3, 0xef].includes(byte);

function countNewlines(bytes: Uint8Array): number {
  let count = 0;
  for (let i = bytes.indexOf(newline); i >= 0; i = bytes.indexOf(newline, i + 1)) count++;
  return count;
}
