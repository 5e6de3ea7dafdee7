/** Pictures as pixels, in a page. */

import { ArgumentError } from "../errors.js";
import type { SvgOptions } from "./render-svg.js";

export async function rasterize(_svg: string, _options: Required<SvgOptions>): Promise<Uint8Array> {
  throw new ArgumentError("renderSvg draws in Node. A page can draw an SVG itself: as the source of an <img>, then on a canvas.");
}
