/** The loss curve of a run, from the rows of its metrics: as text for a terminal, as an SVG for everything else. */

export { type LossCurveSvgOptions, lossCurveSvg } from "./loss-curve-svg.js";
export { type LossCurveTextOptions, lossCurveText } from "./loss-curve-text.js";
export type { LossRow } from "./loss-series.js";
