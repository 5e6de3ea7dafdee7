/** Sums of what overlapping stretches of a sequence give, made as the parts come: an engine that leaves them for the end keeps all parts. */

import { add } from "../graph/ops/arithmetic.js";
import { zeros } from "../graph/ops/fill.js";
import { concat, padAxis, slice } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import type { Stretch } from "./attention-blocks.js";

type Piece = Stretch & { readonly sum: Tensor };

/** A sum of [batch, heads, n, d] of stretches of the places. */
export class SumOfStretches {
  private pieces: readonly Piece[] = [];

  /** @returns the sum of all there is so far in the stretch */
  add(x: Tensor, { start, end }: Stretch): Tensor {
    const overlapping = this.pieces.filter((piece) => piece.start < end && start < piece.end);
    // Pieces are cut at the edges of what comes; between and around them there is nothing yet.
    const inside = overlapping.map((piece) => cut(piece, Math.max(piece.start, start), Math.min(piece.end, end)));
    const total = inside.length > 0 ? add(laidOut(inside, start, end), x) : x;
    const outside = overlapping.flatMap((piece) => [
      ...(piece.start < start ? [cut(piece, piece.start, start)] : []),
      ...(piece.end > end ? [cut(piece, end, piece.end)] : []),
    ]);
    const others = this.pieces.filter((piece) => !overlapping.includes(piece));
    this.pieces = [...others, ...outside, { start, end, sum: total }].sort((a, b) => a.start - b.start);
    return total;
  }

  /** The sum over `length` places, with zeros where no stretch was. */
  result(length: number): Tensor {
    return laidOut(this.pieces, 0, length);
  }
}

/** The places from `start` to `end` of a piece that holds them. */
const cut = (piece: Piece, start: number, end: number): Piece =>
  start === piece.start && end === piece.end
    ? piece
    : { start, end, sum: slice(piece.sum, 2, start - piece.start, end - piece.start) };

/** Pieces in order, side by side from `start` to `end` with zeros in between. */
function laidOut(pieces: readonly Piece[], start: number, end: number): Tensor {
  const [only] = pieces as readonly [Piece, ...Piece[]];
  if (pieces.length === 1) return padAxis(only.sum, 2, only.start - start, end - only.end);
  const parts: Tensor[] = [];
  let reached = start;
  const fillTo = (place: number) => {
    const [batch, heads, , width] = only.sum.shape as readonly [number, number, number, number];
    if (place > reached) parts.push(zeros([batch, heads, place - reached, width], only.sum.dtype));
  };
  for (const piece of pieces) {
    fillTo(piece.start);
    parts.push(piece.sum);
    reached = piece.end;
  }
  fillTo(end);
  return concat(parts, 2);
}
