/** What pieces of text became when they were last encoded: a text repeats its words. */

import { grown } from "../grown.js";
import type { TokenList } from "../models/model.js";
import { WordTable } from "../text/word-table.js";

/** The longest piece that is remembered, and how much in all [UTF-16 units]. */
const longestPiece = 64;
const mostPieces = 1 << 18;
const mostUnits = 1 << 22;

export class PieceMemory {
  private pieces = new WordTable();
  /** The ids of piece i are `ids[starts[i], starts[i + 1])`. */
  private ids = new Int32Array(1 << 12);
  private starts = new Int32Array(1 << 10);

  /** Appends the ids of `text[start, end)` to `output`; false where they are not known. */
  recall(text: string, start: number, end: number, output: IdList): boolean {
    if (end - start > longestPiece) return false;
    const piece = this.pieces.find(text, start, end);
    if (piece < 0) return false;
    output.append(this.ids, this.starts[piece] as number, this.starts[piece + 1] as number);
    return true;
  }

  remember(text: string, start: number, end: number, tokens: TokenList): void {
    this.store(text, start, end, tokens.ids, 0, tokens.length);
  }

  /** Remembers that `text[start, end)` became what `list` holds from `from` on. */
  rememberTail(text: string, start: number, end: number, list: IdList, from: number): void {
    this.store(text, start, end, list.ids, from, list.length);
  }

  private store(text: string, start: number, end: number, source: Int32Array, from: number, to: number): void {
    if (end - start > longestPiece) return;
    if (this.pieces.size >= mostPieces || (this.pieces.starts[this.pieces.size] as number) > mostUnits)
      this.pieces = new WordTable();
    const piece = this.pieces.findOrAdd(text, start, end);
    if (piece + 2 > this.starts.length) this.starts = grown(this.starts);
    const first = this.starts[piece] as number;
    while (first + to - from > this.ids.length) this.ids = grown(this.ids);
    for (let i = from; i < to; i++) this.ids[first + i - from] = source[i] as number;
    this.starts[piece + 1] = first + to - from;
  }
}

/** A list of ids that grows. */
export class IdList {
  length = 0;
  ids: Int32Array;

  constructor(capacity: number) {
    this.ids = new Int32Array(Math.max(16, capacity));
  }

  push(id: number): void {
    if (this.length === this.ids.length) this.ids = grown(this.ids);
    this.ids[this.length++] = id;
  }

  append(source: Int32Array, start: number, end: number): void {
    while (this.length + end - start > this.ids.length) this.ids = grown(this.ids);
    for (let i = start; i < end; i++) this.ids[this.length++] = source[i] as number;
  }
}
