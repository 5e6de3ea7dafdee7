/** What a loss curve shows, before it is drawn: the two series, a smoothed line, and axes with round numbers. */

/** A row of metrics, as far as a loss curve looks at it; both losses in nats per token. */
export interface LossRow {
  readonly step: number;
  readonly loss?: number | null | undefined;
  readonly validationLoss?: number | null | undefined;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface LossSeries {
  readonly train: readonly Point[];
  readonly validation: readonly Point[];
}

/** The finite losses of each kind, by step. */
export function lossSeries(rows: readonly LossRow[]): LossSeries {
  const pick = (value: (row: LossRow) => number | null | undefined): Point[] =>
    rows
      .map((row) => ({ x: row.step, y: value(row) ?? Number.NaN }))
      .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y))
      .sort((a, b) => a.x - b.x);
  return { train: pick((row) => row.loss), validation: pick((row) => row.validationLoss) };
}

/** The point of the smallest loss, the earliest of equals. */
export const lowest = (points: readonly Point[]): Point | undefined =>
  points.reduce<Point | undefined>((best, point) => (best === undefined || point.y < best.y ? point : best), undefined);

/** The points that fall into one of many equal parts of the x axis. */
export interface Bucket {
  /** Mean place and mean loss. */
  readonly x: number;
  readonly y: number;
  readonly min: number;
  readonly max: number;
}

/** Points, sorted by x, gathered in at most `count` buckets, so that a long run is drawn no finer than it can be seen. */
export function bucketize(points: readonly Point[], count: number): Bucket[] {
  const first = points[0]?.x ?? 0;
  const width = ((points.at(-1)?.x ?? 0) - first) / count || 1;
  const groups = new Map<number, Point[]>();
  for (const point of points) {
    const index = Math.min(Math.floor((point.x - first) / width), count - 1);
    const group = groups.get(index);
    if (group) group.push(point);
    else groups.set(index, [point]);
  }
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return [...groups.values()].map((group) => {
    const losses = group.map(({ y }) => y);
    return {
      x: mean(group.map(({ x }) => x)),
      y: mean(losses),
      min: losses.reduce((a, b) => Math.min(a, b)),
      max: losses.reduce((a, b) => Math.max(a, b)),
    };
  });
}

/** The line to be shown for a run's training losses, sorted by step: smoothed over 3 % of the run to either side. */
export function smoothedLine(points: readonly Point[]): Point[] {
  const span = (points.at(-1)?.x ?? 0) - (points[0]?.x ?? 0);
  return smooth(bucketize(points, 600), 0.03 * span);
}

/**
 * A line through the noise: at each point a straight line is fitted to the neighbours within `reach` of it, the nearer weighing
 * more (Cleveland 1979, locally weighted regression with tricube weights, without the robustness iterations). Unlike a running
 * mean it neither lags behind a steep beginning nor bends at the ends.
 */
export function smooth(points: readonly Point[], reach: number): Point[] {
  let from = 0;
  return points.map(({ x, y }) => {
    while ((points[from]?.x ?? x) < x - reach) from++;
    let [w, wx, wy, wxx, wxy] = [0, 0, 0, 0, 0]; // weighted sums; dx is measured from x
    for (let i = from; i < points.length; i++) {
      const point = points[i] as Point;
      const dx = point.x - x;
      if (dx > reach) break;
      const weight = reach > 0 ? (1 - Math.abs(dx / reach) ** 3) ** 3 : 1;
      w += weight;
      wx += weight * dx;
      wy += weight * point.y;
      wxx += weight * dx * dx;
      wxy += weight * dx * point.y;
    }
    const spread = w * wxx - wx * wx;
    if (w === 0) return { x, y };
    return { x, y: spread > 1e-9 * w * wxx ? (wxx * wy - wx * wxy) / spread : wy / w };
  });
}

export interface Axis {
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly { readonly value: number; readonly label: string }[];
}

/** An axis over [min, max] with about `count` ticks at round numbers (1, 2 or 5 times a power of ten). */
export const axis = (min: number, max: number, count: number): Axis => ({
  min,
  max,
  ticks: ticksIn(min, max, tickInterval(max - min, count)),
});

/** The axis over [min, max], widened to the next ticks. */
export function niceAxis(min: number, max: number, count: number): Axis {
  const interval = tickInterval(max - min, count);
  const [from, to] = [Math.floor(min / interval + 1e-9) * interval, Math.ceil(max / interval - 1e-9) * interval];
  return { min: from, max: to, ticks: ticksIn(from, to, interval) };
}

function ticksIn(min: number, max: number, interval: number): Axis["ticks"] {
  const decimals = Math.max(0, -Math.floor(Math.log10(interval) + 1e-9));
  const format = (value: number) =>
    value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  const first = Math.ceil(min / interval - 1e-9);
  const count = Math.floor(max / interval + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => ({ value: (first + i) * interval, label: format((first + i) * interval) }));
}

function tickInterval(span: number, count: number): number {
  const rough = span / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10) * power;
}

/** The steps of a run that has some: from 0 unless it begins late. */
export function stepAxis({ train, validation }: LossSeries, count: number): Axis {
  const steps = [...train, ...validation].map(({ x }) => x);
  const [first, last] = [smallest(steps), Math.max(largest(steps), 1)];
  const min = first <= 0.1 * last || first === last ? 0 : first;
  return axis(min, last, Math.min(count, last - min)); // no more ticks than steps: they stand at whole numbers
}

/** From the smallest to the largest loss, with some room where they are all the same. */
export function lossRange(losses: readonly number[]): [number, number] {
  const [min, max] = [smallest(losses), largest(losses)];
  const magnitude = Math.max(1, Math.abs(min), Math.abs(max));
  return max - min > 1e-6 * magnitude ? [min, max] : [min - 0.1 * magnitude, max + 0.1 * magnitude];
}

const smallest = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b));
const largest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));

export const formatLoss = (loss: number): string => loss.toFixed(3);
export const formatStep = (step: number): string => step.toLocaleString("en-US");

/** `3.063, best 2.961 at step 800` */
export const describeValidation = (last: Point, best: Point): string =>
  last === best
    ? `${formatLoss(last.y)} (best)`
    : `${formatLoss(last.y)}, best ${formatLoss(best.y)} at step ${formatStep(best.x)}`;
