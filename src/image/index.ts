/** Pictures as numbers. */

export { renderSvg, type SvgOptions } from "./render-svg.js";
