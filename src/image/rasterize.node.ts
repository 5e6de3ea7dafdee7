/** Pictures as pixels, in Node. */

import { TsumikiError } from "../errors.js";
import type { SvgOptions } from "./render-svg.js";

/** sharp takes the size of an SVG from its file at 72 dots per inch; drawn at this many, small icons stay sharp when they are made larger. */
const mostDotsPerInch = 2400;

export async function rasterize(svg: string, { size, background, channels }: Required<SvgOptions>): Promise<Uint8Array> {
  const { default: sharp } = await import("sharp"); // 20 ms and 20 MB that only images need
  try {
    const source = Buffer.from(svg);
    const { width = size, height = size } = await sharp(source).metadata();
    const density = Math.min(mostDotsPerInch, Math.max(72, (72 * size) / Math.min(width, height)));
    const image = sharp(source, { density })
      .resize(size, size, { fit: "contain", background })
      .flatten({ background })
      .toColourspace(channels === 1 ? "b-w" : "srgb");
    return new Uint8Array(await image.raw().toBuffer());
  } catch (cause) {
    throw new TsumikiError("DATA", `The picture cannot be drawn: ${(cause as Error).message}`, { cause });
  }
}
