/** Values repeated along axes. */

import { ArgumentError } from "../../errors.js";
import { type Dim, mulDims, normalizeAxis } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { broadcastTo } from "./broadcasting.js";
import { flatten, reshape, unsqueeze } from "./shape.js";

/** x laid side by side: `repeats[i]` times along axis i. */
export function tile(x: Tensor, repeats: readonly Dim[]): Tensor {
  if (repeats.length !== x.rank)
    throw new ArgumentError(
      `tile: ${x.describe()} needs ${x.rank} repeats, one for each axis, but ${repeats.length} were given.`,
    );
  const copies = broadcastTo(
    reshape(
      x,
      x.shape.flatMap((dim) => [1, dim]),
    ),
    x.shape.flatMap((dim, axis) => [repeats[axis] as Dim, dim]),
  );
  return reshape(
    copies,
    x.shape.map((dim, axis) => mulDims(dim, repeats[axis] as Dim)),
  );
}

/** Each element along `axis` repeated `count` times in a row: a a b b c c. Grouped-query attention spreads its keys so. */
export function repeatInterleave(x: Tensor, count: Dim, axis: number): Tensor {
  const at = normalizeAxis(axis, x.rank);
  const copies = broadcastTo(unsqueeze(x, at + 1), x.shape.toSpliced(at + 1, 0, count));
  return flatten(copies, at, at + 1);
}
