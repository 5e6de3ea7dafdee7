import { rasterize } from "#platform/image/rasterize";
import { ArgumentError } from "../errors.js";
import type { ImageData8 } from "./picture.js";

export interface SvgOptions {
  /** Width and height of the image [pixels]; what is not square is fitted in. */
  readonly size: number;
  /** What shows where the picture is transparent, as CSS names it. Default "white". */
  readonly background?: string;
  /** 1 for grey, 3 (the default) for red, green and blue. */
  readonly channels?: 1 | 3;
}

/**
 * Draws a picture (of `corpus("emoji-pictures")`, `corpus("icons")`), in Node with `sharp`.
 *
 * @returns [height, width, channels], 8 bits each
 * @throws TsumikiError ARGUMENT for a size that is none or in a page, DATA where `svg` is not a picture
 */
export async function renderSvg(svg: string, { size, background = "white", channels = 3 }: SvgOptions): Promise<ImageData8> {
  if (!Number.isSafeInteger(size) || size < 1)
    throw new ArgumentError(`The size of an image is a whole number of pixels from 1, but ${size} was given.`);
  return { width: size, height: size, channels, data: await rasterize(svg, { size, background, channels }) };
}
