/** What is told of pairs of queries and keys: biases and conditions that broadcast to the scores. */

import { ShapeError } from "../errors.js";
import { type Dim, formatShape, sameDim } from "../graph/dim.js";
import { reshape } from "../graph/ops/shape.js";
import { slice } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";

/** The sizes of scores, heads in groups that share a key head. */
export interface ScoreSizes {
  readonly batch: Dim;
  readonly kvHeads: Dim;
  readonly group: Dim;
  readonly queries: Dim;
  readonly keys: Dim;
  /** kvHeads · group */
  readonly heads: Dim;
}

/**
 * A tensor that broadcasts to [batch, heads, queries, keys] with its heads in groups: [batch, kvHeads, group, queries, keys], ones where
 * it is the same for all; one of at most two axes stays [queries, keys].
 *
 * @throws ShapeError for one that does not broadcast
 */
export function groupedOperand(x: Tensor, sizes: ScoreSizes, what: string): Tensor {
  const { batch, kvHeads, group, heads, queries, keys } = sizes;
  const full = [batch, heads, queries, keys];
  const shape = [1, 1, 1, 1, ...x.shape].slice(-4) as [Dim, Dim, Dim, Dim];
  if (x.rank > 4 || shape.some((size, axis) => size !== 1 && !sameDim(size, full[axis] as Dim)))
    throw new ShapeError(
      `attend: ${what} ${formatShape(x.shape)} does not broadcast to [batch, heads, queries, keys] = ${formatShape(full)}.`,
    );
  const [ofBatch, ofHeads, ofQueries, ofKeys] = shape;
  if (x.rank <= 2) return x.rank === 2 ? x : reshape(x, [ofQueries, ofKeys]);
  return reshape(x, [ofBatch, ...(ofHeads === 1 ? [1, 1] : [kvHeads, group]), ofQueries, ofKeys]);
}

/** Some of the last two axes of an operand, [..., queries, keys]; an axis of one is for all. */
export const partOf = (x: Tensor, meeting: { firstQuery: Dim; queries: Dim; firstKey: Dim; keys: Dim }): Tensor =>
  along(along(x, -2, meeting.firstQuery, meeting.queries), -1, meeting.firstKey, meeting.keys);

function along(x: Tensor, axis: number, first: Dim, count: Dim): Tensor {
  const size = x.size(axis);
  if (size === 1 || (first === 0 && sameDim(size, count))) return x;
  if (typeof first === "number" && typeof count === "number" && typeof size === "number" && first + count <= size)
    return slice(x, axis, first, first + count);
  throw new ShapeError(
    `attend: ${x.describe()} does not tell about ${String(count)} positions from ${String(first)} on; with a cache, or for queries and keys ` +
      "that are different positions, segments are { queries, keys }.",
  );
}
