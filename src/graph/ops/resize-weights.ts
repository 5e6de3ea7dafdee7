/** The weights with which elements of an axis enter those of the resized one, as PyTorch's `interpolate` has them. */

export type ResizeMode = "nearest" | "nearestExact" | "linear" | "cubic";

export interface AxisResize {
  readonly from: number;
  readonly to: number;
  /** Elements of the original for each of the result; default: from / to. */
  readonly scale?: number;
  /** Whether the centres of the corner elements meet, instead of the corners of the image. */
  readonly alignCorners: boolean;
}

function scaleOf({ from, to, scale, alignCorners }: AxisResize): number {
  if (alignCorners) return to > 1 ? (from - 1) / (to - 1) : 0;
  return scale ?? from / to;
}

/** Which element of the original each of the result is. `nearest` rounds down, as PyTorch always did; `nearestExact` takes centres. */
export function nearestPlaces(resize: AxisResize, exact: boolean): readonly number[] {
  const scale = scaleOf(resize);
  return Array.from({ length: resize.to }, (_, i) => Math.min(Math.floor((exact ? i + 0.5 : i) * scale), resize.from - 1));
}

/** Keys 1981, "Cubic convolution interpolation for digital image processing"; a = −¾ as in PyTorch, −½ with antialiasing as in Pillow. */
function cubic(x: number, a: number): number {
  const distance = Math.abs(x);
  if (distance <= 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  return distance < 2 ? (((distance - 5) * distance + 8) * distance - 4) * a : 0;
}

const triangle = (x: number): number => Math.max(0, 1 - Math.abs(x));

/** A row of weights for each element of the result. */
export function resizeWeights(mode: "linear" | "cubic", antialias: boolean, resize: AxisResize): readonly (readonly number[])[] {
  const row = antialias ? smoothRow : interpolatedRow;
  return Array.from({ length: resize.to }, (_, i) => row(mode, i, resize));
}

function interpolatedRow(mode: "linear" | "cubic", i: number, resize: AxisResize): readonly number[] {
  const scale = scaleOf(resize);
  const place = resize.alignCorners ? i * scale : (i + 0.5) * scale - 0.5;
  const weights = new Array<number>(resize.from).fill(0);
  // Elements beyond the ends are the last ones again.
  const add = (at: number, weight: number) => {
    const inside = Math.min(Math.max(at, 0), resize.from - 1);
    weights[inside] = (weights[inside] as number) + weight;
  };
  const from = mode === "linear" ? Math.max(place, 0) : place;
  const first = Math.floor(from);
  const taps = mode === "linear" ? [0, 1] : [-1, 0, 1, 2];
  for (const tap of taps) add(first + tap, mode === "linear" ? triangle(from - first - tap) : cubic(from - first - tap, -0.75));
  return weights;
}

/** A filter as wide as the elements of the result are in the original, so that none is passed over. */
function smoothRow(mode: "linear" | "cubic", i: number, resize: AxisResize): readonly number[] {
  const scale = scaleOf(resize);
  const stretch = Math.max(scale, 1);
  const support = (mode === "linear" ? 1 : 2) * stretch;
  const center = scale * (i + 0.5);
  const start = Math.max(Math.trunc(center - support + 0.5), 0);
  const end = Math.min(Math.trunc(center + support + 0.5), resize.from);
  const weights = Array.from({ length: resize.from }, (_, j) => {
    const x = (j - center + 0.5) / stretch;
    return j >= start && j < end ? (mode === "linear" ? triangle(x) : cubic(x, -0.5)) : 0;
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return total === 0 ? weights : weights.map((weight) => weight / total);
}
