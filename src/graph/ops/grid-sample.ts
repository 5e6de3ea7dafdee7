/** Values of an image at computed places between its elements (Jaderberg et al. 2015, "Spatial transformer networks"). */

import { ShapeError } from "../../errors.js";
import { type Dim, formatShape, mulDims, sameDim } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { abs, add, div, floor, maximum, minimum, mod, mul, round, sub } from "./arithmetic.js";
import { cast } from "./cast.js";
import { and, equal, greaterEqual, lessEqual } from "./compare.js";
import { gather } from "./indexing.js";
import { range } from "./range.js";
import { numberOfElements } from "./reduce.js";
import { where } from "./select.js";
import { reshape, transpose, unsqueeze } from "./shape.js";
import { select } from "./shape-slice.js";

export interface GridSampleOptions {
  /** `bilinear`: the four elements around a place, weighted; `nearest`: the nearest one, without a gradient for the place. */
  readonly mode?: "bilinear" | "nearest";
  /** What lies outside: zeros, the nearest element of the border, or the image reflected at it. Default `zeros`. */
  readonly padding?: "zeros" | "border" | "reflection";
  /** Whether −1 and 1 are the centres of the corner elements instead of the corners of the image. Default false. */
  readonly alignCorners?: boolean;
}

/**
 * x [batch, channels, height, width] read at `grid` [batch, rows, columns, 2], places (x, y) from −1 to 1 → [batch, channels, rows,
 * columns], as PyTorch's `grid_sample`: four gathers of rows. Gradients reach x and, with `bilinear`, the grid.
 */
export function gridSample(
  x: Tensor,
  grid: Tensor,
  { mode = "bilinear", padding = "zeros", alignCorners = false }: GridSampleOptions = {},
): Tensor {
  const [batch, channels, height, width] = x.shape as readonly [Dim, Dim, Dim, Dim];
  const [count, , , two] = grid.shape as readonly [Dim, Dim, Dim, Dim];
  if (x.rank !== 4 || grid.rank !== 4 || two !== 2 || !sameDim(batch, count))
    throw new ShapeError(
      `gridSample: x ${formatShape(x.shape)} must be [batch, channels, height, width] and the grid ${formatShape(grid.shape)} [batch, rows, columns, 2]`,
    );
  const sizes = [width, height].map((size) => numberOfElements([size], x.dtype)) as [Tensor, Tensor];
  const [atX, atY] = sizes.map((size, i) => {
    const given = select(grid, -1, i);
    const place = alignCorners ? mul(add(given, 1), div(sub(size, 1), 2)) : div(sub(mul(add(given, 1), size), 1), 2);
    return padding === "zeros"
      ? place
      : clampPlace(padding === "reflection" ? reflected(place, size, alignCorners) : place, size);
  }) as [Tensor, Tensor];

  // Elements as rows [batch · height · width, channels]; where the image of each example begins: [batch, 1, 1].
  const elements = reshape(transpose(x, [0, 2, 3, 1]), [mulDims(batch, height, width), channels]);
  const first = reshape(mul(range(batch, "int64"), numberOfElements([height, width], "int64")), [batch, 1, 1]);
  /** The elements at whole places, with their weight: [batch, rows, columns, channels]. */
  const read = (column: Tensor, row: Tensor, weight?: Tensor): Tensor => {
    const inside = and(within(column, sizes[0]), within(row, sizes[1]));
    const index = add(
      mul(cast(clampPlace(row, sizes[1]), "int64"), numberOfElements([width], "int64")),
      cast(clampPlace(column, sizes[0]), "int64"),
    );
    const found = gather(elements, add(index, first));
    // A choice, not a weight of 0: what lies outside is not even NaN.
    const seen = padding === "zeros" ? where(unsqueeze(inside, -1), found, 0) : found;
    return weight ? mul(seen, unsqueeze(where(inside, weight, 0), -1)) : seen;
  };
  if (mode === "nearest") return channelsFirst(read(round(atX), round(atY)));

  const [left, top] = [floor(atX), floor(atY)];
  const [toRight, toBottom] = [sub(atX, left), sub(atY, top)];
  const corners = [
    read(left, top, mul(sub(1, toRight), sub(1, toBottom))),
    read(add(left, 1), top, mul(toRight, sub(1, toBottom))),
    read(left, add(top, 1), mul(sub(1, toRight), toBottom)),
    read(add(left, 1), add(top, 1), mul(toRight, toBottom)),
  ];
  return channelsFirst(corners.reduce((sum, corner) => add(sum, corner)));
}

const channelsFirst = (x: Tensor): Tensor => transpose(x, [0, 3, 1, 2]);

const within = (place: Tensor, size: Tensor): Tensor => and(greaterEqual(place, 0), lessEqual(place, sub(size, 1)));

/** To the nearest place inside. */
const clampPlace = (place: Tensor, size: Tensor): Tensor => minimum(maximum(place, 0), sub(size, 1));

/** Reflected at the borders as often as it takes: at the centres of the corner elements, or at the corners of the image. */
function reflected(place: Tensor, size: Tensor, alignCorners: boolean): Tensor {
  const least = alignCorners ? 0 : -0.5;
  const span = alignCorners ? sub(size, 1) : size;
  // An image one element wide has nowhere to go.
  const none = equal(span, 0);
  const distance = abs(sub(place, least));
  const turns = floor(div(distance, where(none, 1, span)));
  const rest = sub(distance, mul(turns, span));
  const even = equal(mod(turns, 2), 0);
  return where(none, 0, add(where(even, rest, sub(span, rest)), least));
}
