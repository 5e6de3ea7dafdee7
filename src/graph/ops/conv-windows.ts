/**
 * Windows that slide over spatial axes: what convolution and pooling share. Spatial axes are those behind batch and channels.
 */

import { ArgumentError, ShapeError } from "../../errors.js";
import { addDims, type Dim, floorDivDims, mulDims, type Shape, subDims } from "../dim.js";
import type { SizeRequirement } from "../size-requirement.js";
import type { Tensor } from "../tensor.js";
import { add, mul } from "./arithmetic.js";
import { gather } from "./indexing.js";
import { range } from "./range.js";
import { transpose, unsqueeze } from "./shape.js";
import { pad } from "./shape-slice.js";

/** For each spatial axis; window p begins at p · stride − padBefore, its elements are `dilation` apart. */
export interface Windows {
  readonly stride: readonly number[];
  /** Elements added before and after each axis. */
  readonly padBefore: readonly number[];
  readonly padAfter: readonly number[];
  readonly dilation: readonly number[];
}

export interface WindowOptions {
  /** Steps between windows; one number: for every spatial axis. */
  readonly stride?: number | readonly number[];
  /** Elements added on both sides of each spatial axis, or [before, after]. Default 0. */
  readonly padding?: number | readonly (number | readonly [before: number, after: number])[];
  /** Steps between the elements of a window. Default 1. */
  readonly dilation?: number | readonly number[];
}

/** One whole number for each spatial axis. */
export function perAxis(what: string, given: number | readonly number[], axes: number, least: number): readonly number[] {
  const values = typeof given === "number" ? new Array<number>(axes).fill(given) : given;
  if (values.length !== axes || !values.every((value) => Number.isInteger(value) && value >= least))
    throw new ArgumentError(
      `${what} must be a whole number from ${least} or ${axes} of them, one for each spatial axis, but ${JSON.stringify(given)} was given.`,
    );
  return values;
}

/** Throws unless an operand has batch, channels and the right number of spatial axes. */
export function checkRank(name: string, axes: number, x: Tensor, what = "x", leading = "batch, channels"): void {
  if (x.rank !== axes + 2)
    throw new ShapeError(
      `${name}: ${what} must have ${axes + 2} axes, ${leading} and ${axes === 1 ? "one spatial axis" : `${axes} spatial axes`}, but it is ${x.describe()}.`,
    );
}

/** Checks the options and gives each spatial axis its own. */
export function normalizeWindows(
  operator: string,
  axes: number,
  options: WindowOptions,
  defaultStride: number | readonly number[] = 1,
): Windows {
  const { stride = defaultStride, padding = 0, dilation = 1 } = options;
  const pairs = typeof padding === "number" ? new Array<number>(axes).fill(padding) : padding;
  const sides = (side: 0 | 1) =>
    perAxis(
      `${operator}: the padding`,
      pairs.map((pair) => (typeof pair === "number" ? pair : pair[side])),
      axes,
      0,
    );
  return {
    stride: perAxis(`${operator}: the stride`, stride, axes, 1),
    padBefore: sides(0),
    padAfter: sides(1),
    dilation: perAxis(`${operator}: the dilation`, dilation, axes, 1),
  };
}

export const onnxWindows = ({ stride, padBefore, padAfter, dilation }: Windows) => ({
  strides: stride,
  pads: [...padBefore, ...padAfter],
  dilations: dilation,
});

/** How many elements of an axis a window covers, gaps included. */
export const windowSpan = (kernel: Dim, dilation: number): Dim => addDims(mulDims(subDims(kernel, 1), dilation), 1);

/** How many windows fit: ⌊(size + padding − span) / stride⌋ + 1 along each axis. */
export function windowCounts(sizes: Shape, kernel: Shape, windows: Windows): Shape {
  return windowRooms(sizes, kernel, windows).map((room, axis) => addDims(floorDivDims(room, windows.stride[axis] as number), 1));
}

/** How many elements of each axis with its padding are left beside one window. */
const windowRooms = (sizes: Shape, kernel: Shape, { padBefore, padAfter, dilation }: Omit<Windows, "stride">): Shape =>
  sizes.map((size, axis) =>
    subDims(
      addDims(size, padBefore[axis] as number, padAfter[axis] as number),
      windowSpan(kernel[axis] as Dim, dilation[axis] as number),
    ),
  );

/** Windows must fit in at least once. */
export const windowsFit = (sizes: Shape, kernel: Shape, windows: Windows): readonly SizeRequirement[] =>
  windowRooms(sizes, kernel, windows).map((room, axis) => ({
    nonNegative: room,
    otherwise: `a window of ${String(kernel[axis])} with dilation ${windows.dilation[axis]} does not fit into spatial axis ${axis} of size ${String(sizes[axis])} with a padding of ${windows.padBefore[axis]} and ${windows.padAfter[axis]}`,
  }));

/**
 * x [batch, channels, ...spatial] → [batch, channels, ...kernel, ...windows]: for each element of a window, what all windows
 * see there ("im2col"). Padding reads as `padValue`.
 */
export function unfold(x: Tensor, kernel: Shape, windows: Windows, padValue = 0): Tensor {
  const axes = kernel.length;
  const counts = windowCounts(x.shape.slice(2), kernel, windows);
  let unfolded = pad(
    x,
    [0, 0, ...windows.padBefore.map((before, axis) => [before, windows.padAfter[axis] as number] as const)],
    padValue,
  );
  // The last axis first: it is gathered element by element, the others then in blocks. [..., size, ...] → [..., kernel, windows, ...]
  for (let axis = axes - 1; axis >= 0; axis--)
    unfolded = gather(
      unfolded,
      windowPositions(counts[axis] as Dim, kernel[axis] as Dim, windows.stride[axis] as number, windows.dilation[axis] as number),
      2 + axis,
    );
  const pairs = kernel.map((_, axis) => 2 + 2 * axis);
  return transpose(unfolded, [0, 1, ...pairs, ...pairs.map((axis) => axis + 1)]);
}

/** int32 [kernel, windows]: where the elements of each window lie on the padded axis. */
function windowPositions(count: Dim, kernel: Dim, stride: number, dilation: number): Tensor {
  return add(mul(unsqueeze(range(kernel, "int32"), 1), dilation), mul(range(count, "int32"), stride));
}
