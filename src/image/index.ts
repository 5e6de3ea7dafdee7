/** Pictures as numbers. */

export type { ImageData8 } from "./picture.js";
export { renderSvg, type SvgOptions } from "./render-svg.js";
