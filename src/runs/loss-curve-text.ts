/** The loss curve in characters: the training loss as a line of braille dots, validation losses as points. */

import {
  type Axis,
  axis,
  bucketize,
  describeValidation,
  formatLoss,
  type LossRow,
  lossRange,
  lossSeries,
  lowest,
  type Point,
  smoothedLine,
  stepAxis,
} from "./loss-series.js";

export interface LossCurveTextOptions {
  /** Columns and rows of the whole picture (default 78 × 18). */
  readonly width?: number;
  readonly height?: number;
}

const validationMark = "●";

/**
 * The curve as lines of text, with axes, a legend and units (nats per token over steps); a sentence where there is nothing to
 * draw.
 */
export function lossCurveText(rows: readonly LossRow[], { width = 78, height = 18 }: LossCurveTextOptions = {}): string {
  const series = lossSeries(rows);
  const { train, validation } = series;
  if (train.length + validation.length === 0) return "No loss has been recorded yet.";

  const plotRows = Math.max(height - 3, 3); // above: the legend; below: the axis and its numbers
  const losses = [...bucketize(train, 2 * width), ...validation].map((point) => point.y);
  const y = axis(...lossRange(losses), plotRows / 3);
  const margin = Math.max(...y.ticks.map(({ label }) => label.length));
  const columns = Math.max(width - margin - 2, 8);
  const x = stepAxis(series, columns / 12);

  // A braille character has 2 × 4 dots: the line has twice the columns and four times the rows, one point for each column of dots.
  const dots = new BrailleCanvas(columns, plotRows);
  const place = ({ x: step, y: loss }: Point): Point => ({
    x: scale(step, x, 0, 2 * columns - 1),
    y: scale(loss, y, 4 * plotRows - 1, 0),
  });
  dots.polyline(bucketize(train, 2 * columns).map(place));
  const picture = dots.rows();
  for (const point of validation.map(place)) {
    const row = picture[Math.floor(point.y / 4)];
    if (row) row[Math.floor(point.x / 2)] = validationMark;
  }

  const labels = new Map(y.ticks.map(({ value, label }) => [Math.floor(scale(value, y, 4 * plotRows - 1, 0) / 4), label]));
  const lines = picture.map((row, i) => {
    const label = labels.get(i);
    return `${(label ?? "").padStart(margin)} ${label === undefined ? "│" : "┤"}${row.join("")}`.trimEnd();
  });
  const indent = " ".repeat(margin + 1);
  return [`${indent}${legend(train, validation)}`, ...lines, ...stepLines(x, columns).map((line) => indent + line)].join("\n");
}

const scale = (value: number, { min, max }: Axis, from: number, to: number): number =>
  Math.round(from + ((value - min) / (max - min)) * (to - from));

function legend(train: readonly Point[], validation: readonly Point[]): string {
  const parts = ["loss (nats per token) by step"];
  const last = smoothedLine(train).at(-1);
  if (last) parts.push(`⠒⠒ train ${formatLoss(last.y)}`);
  const [lastValidation, best] = [validation.at(-1), lowest(validation)];
  if (lastValidation && best) parts.push(`${validationMark} validation ${describeValidation(lastValidation, best)}`);
  return parts.join("   ");
}

/** The x axis and, below it, the numbers of its ticks. */
function stepLines(x: Axis, columns: number): [string, string] {
  const line = Array.from({ length: columns }, () => "─");
  let numbers = "";
  for (const { value, label } of x.ticks) {
    const column = Math.floor(scale(value, x, 0, 2 * columns - 1) / 2);
    const start = Math.min(Math.max(column + 1 - Math.floor(label.length / 2), 0), columns + 1 - label.length);
    if (numbers !== "" && start < numbers.length + 2) continue;
    line[column] = "┬";
    numbers = numbers.padEnd(start) + label;
  }
  return [`└${line.join("")}`, numbers];
}

/** Dots of the Unicode braille block: a character at U+2800 + bits holds 2 × 4 of them. */
class BrailleCanvas {
  readonly #cells: Uint8Array;

  constructor(
    private readonly columns: number,
    private readonly height: number,
  ) {
    this.#cells = new Uint8Array(columns * height);
  }

  /** Sets the dots on the straight lines between the points, whose coordinates are whole dots from the top left. */
  polyline(points: readonly Point[]): void {
    points.forEach((to, i) => {
      const from = points[i - 1] ?? to;
      const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 1);
      for (let s = 0; s <= steps; s++)
        this.#set(Math.round(from.x + ((to.x - from.x) * s) / steps), Math.round(from.y + ((to.y - from.y) * s) / steps));
    });
  }

  rows(): string[][] {
    return Array.from({ length: this.height }, (_, row) =>
      Array.from({ length: this.columns }, (_, column) => {
        const bits = this.#cells[row * this.columns + column] as number;
        return bits === 0 ? " " : String.fromCodePoint(0x2800 + bits);
      }),
    );
  }

  #set(x: number, y: number): void {
    if (x < 0 || y < 0 || x >= 2 * this.columns || y >= 4 * this.height) return;
    const [row, column] = [y & 3, x & 1];
    const bit = row === 3 ? 6 + column : row + 3 * column; // the fourth row was added to the block later
    this.#cells[(y >> 2) * this.columns + (x >> 1)] = (this.#cells[(y >> 2) * this.columns + (x >> 1)] as number) | (1 << bit);
  }
}
