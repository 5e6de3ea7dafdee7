/** The loss curve as a self-contained SVG that follows the reader's light or dark mode. */

import {
  type Axis,
  type Bucket,
  bucketize,
  describeValidation,
  formatLoss,
  formatStep,
  type LossRow,
  lossRange,
  lossSeries,
  lowest,
  niceAxis,
  type Point,
  smoothedLine,
  stepAxis,
} from "./loss-series.js";

export interface LossCurveSvgOptions {
  readonly title?: string;
  /** In pixels (default 820 × 460). */
  readonly width?: number;
  readonly height?: number;
}

/** Colours that people with colour-blindness tell apart too. */
const style = `
  svg { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .background { fill: #ffffff; }
  text { fill: #4b5563; }
  .title { fill: #111827; font-size: 17px; font-weight: 600; }
  .grid { stroke: #e5e7eb; stroke-width: 1; }
  .axis { stroke: #9ca3af; stroke-width: 1; }
  .raw, .train { fill: none; stroke: #2563eb; stroke-linejoin: round; stroke-linecap: round; }
  .raw { stroke-width: 1; opacity: 0.25; }
  .train { stroke-width: 2.25; }
  .between { fill: none; stroke: #d97706; stroke-width: 1; stroke-dasharray: 3 4; }
  .validation { fill: #d97706; stroke: #ffffff; stroke-width: 1.5; }
  .best { fill: none; stroke: #d97706; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    .background { fill: #0f141b; }
    text { fill: #a8b3c1; }
    .title { fill: #eef2f7; }
    .grid { stroke: #232b36; }
    .axis { stroke: #5b6776; }
    .raw, .train { stroke: #6ea8fe; }
    .between, .best { stroke: #f5a742; }
    .validation { fill: #f5a742; stroke: #0f141b; }
  }`;

/** The curve with each step's loss, a smoothed line, validation points (the best one ringed), axes, units, title and legend. */
export function lossCurveSvg(
  rows: readonly LossRow[],
  { title = "Loss", width = 820, height = 460 }: LossCurveSvgOptions = {},
): string {
  const series = lossSeries(rows);
  const empty = series.train.length + series.validation.length === 0;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
      `role="img" aria-labelledby="title description">`,
    `<title id="title">${escapeXml(title)}</title>`,
    `<desc id="description">${escapeXml(describe(series.train, series.validation))}</desc>`,
    `<style>${style}\n</style>`,
    `<rect class="background" width="${width}" height="${height}" rx="10"/>`,
    `<text class="title" x="24" y="34">${escapeXml(title)}</text>`,
    ...(empty
      ? [`<text x="${width / 2}" y="${height / 2}" text-anchor="middle">No loss has been recorded yet.</text>`]
      : plot(series, width, height)),
    "</svg>",
    "",
  ].join("\n");
}

function plot(series: { train: readonly Point[]; validation: readonly Point[] }, width: number, height: number): string[] {
  const { train, validation } = series;
  const area = { left: 70, right: width - 28, top: 76, bottom: height - 56 };
  const buckets = bucketize(train, area.right - area.left);
  const smoothed = smoothedLine(train);

  const losses = [...smoothed, ...buckets, ...validation].map((point) => point.y);
  const y = niceAxis(...lossRange(losses), (area.bottom - area.top) / 55);
  const x = stepAxis(series, (area.right - area.left) / 95);
  const left = (step: number) => round(area.left + ((step - x.min) / (x.max - x.min)) * (area.right - area.left));
  const top = (loss: number) => round(area.bottom - ((loss - y.min) / (y.max - y.min)) * (area.bottom - area.top));
  const path = (points: readonly Point[]) =>
    points.map((point, i) => `${i === 0 ? "M" : "L"}${left(point.x)} ${top(point.y)}`).join("");

  const best = lowest(validation);
  return [
    ...axes(x, y, left, top, area),
    `<clipPath id="area"><rect ${rectangle(area, room)}/></clipPath>`,
    `<g clip-path="url(#area)">`,
    `<path class="raw" d="${path(buckets.flatMap(extremes))}"/>`,
    `<path class="train" d="${path(smoothed)}"/>`,
    `<path class="between" d="${path(validation)}"/>`,
    ...(best ? [`<circle class="best" cx="${left(best.x)}" cy="${top(best.y)}" r="7"/>`] : []),
    ...validation.map(
      (point) => `<circle class="validation" cx="${left(point.x)}" cy="${top(point.y)}" r="4">${tooltip(point)}</circle>`,
    ),
    "</g>",
    ...legend(smoothed.at(-1), validation.at(-1), best),
  ];
}

interface Area {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Pixels beyond the axes in which a point at the edge is still drawn whole. */
const room = 9;

const rectangle = ({ left, right, top, bottom }: Area, room: number): string =>
  `x="${left - room}" y="${top - room}" width="${right - left + 2 * room}" height="${bottom - top + 2 * room}"`;

const tooltip = ({ x, y }: Point): string => `<title>step ${formatStep(x)}: validation loss ${formatLoss(y)}</title>`;

function axes(x: Axis, y: Axis, left: (step: number) => number, top: (loss: number) => number, area: Area): string[] {
  return [
    ...y.ticks.flatMap(({ value, label }) => [
      `<line class="grid" x1="${area.left}" y1="${top(value)}" x2="${area.right}" y2="${top(value)}"/>`,
      `<text x="${area.left - 10}" y="${top(value) + 4}" text-anchor="end">${label}</text>`,
    ]),
    `<line class="axis" x1="${area.left}" y1="${area.bottom}" x2="${area.right}" y2="${area.bottom}"/>`,
    ...x.ticks.flatMap(({ value, label }) => [
      `<line class="axis" x1="${left(value)}" y1="${area.bottom}" x2="${left(value)}" y2="${area.bottom + 5}"/>`,
      `<text x="${left(value)}" y="${area.bottom + 21}" text-anchor="middle">${label}</text>`,
    ]),
    `<text x="${(area.left + area.right) / 2}" y="${area.bottom + 44}" text-anchor="middle">step</text>`,
    `<text transform="translate(24 ${(area.top + area.bottom) / 2}) rotate(-90)" text-anchor="middle">loss (nats per token)</text>`,
  ];
}

/** One line below the title. */
function legend(train: Point | undefined, validation: Point | undefined, best: Point | undefined): string[] {
  const parts: string[] = [];
  let x = 24;
  if (train) {
    const text = `train ${formatLoss(train.y)} (smoothed; light: each step)`;
    parts.push(`<line class="train" x1="${x}" y1="54" x2="${x + 22}" y2="54"/>`, `<text x="${x + 30}" y="58">${text}</text>`);
    x += 30 + 6.6 * text.length + 24; // text has no width before it is drawn: 6.6 is a generous mean at 13 pixels
  }
  if (validation && best) {
    parts.push(
      `<circle class="validation" cx="${round(x + 5)}" cy="54" r="4"/>`,
      `<text x="${round(x + 16)}" y="58">validation ${describeValidation(validation, best)}</text>`,
    );
  }
  return parts;
}

/** A bucket of several steps is drawn as the range of their losses. */
const extremes = ({ x, min, max }: Bucket): Point[] =>
  min === max
    ? [{ x, y: min }]
    : [
        { x, y: min },
        { x, y: max },
      ];

function describe(train: readonly Point[], validation: readonly Point[]): string {
  const tell = (name: string, points: readonly Point[]) => {
    const [first, last] = [points[0], points.at(-1)];
    return first && last
      ? [
          `${name} loss from ${formatLoss(first.y)} at step ${formatStep(first.x)} to ${formatLoss(last.y)} at step ${formatStep(last.x)}`,
        ]
      : [];
  };
  const parts = [...tell("training", train), ...tell("validation", validation)];
  return parts.length > 0 ? `In nats per token: ${parts.join("; ")}.` : "No loss has been recorded yet.";
}

const round = (pixels: number): number => Math.round(pixels * 10) / 10;

const escapeXml = (text: string): string =>
  text.replace(/[&<>"]/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[character] as string);
