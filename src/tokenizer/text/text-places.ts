/** Places in a text in code points, as the Rust library counts them, and in UTF-16 units, as JavaScript does. */

import type { Encoding } from "../encoding.js";

export class TextPlaces {
  /** Undefined where both are the same. */
  private readonly pointOfUnit: Int32Array | undefined;
  private readonly unitOfPoint: Int32Array | undefined;

  constructor(text: string) {
    if (!/[\ud800-\udbff]/.test(text)) return;
    const points = new Int32Array(text.length + 1);
    const units = new Int32Array(text.length + 1);
    let point = 0;
    for (let unit = 0; unit < text.length; point++) {
      const width = (text.codePointAt(unit) as number) > 0xffff ? 2 : 1;
      units[point] = unit;
      points.fill(point, unit, unit + width);
      unit += width;
    }
    points[text.length] = point;
    units[point] = text.length;
    this.pointOfUnit = points;
    this.unitOfPoint = units;
  }

  point(unit: number): number {
    return this.pointOfUnit?.[unit] ?? unit;
  }

  unit(point: number): number {
    return this.unitOfPoint?.[point] ?? point;
  }

  get areAlike(): boolean {
    return this.pointOfUnit === undefined;
  }
}

/** Encodings of the texts one by one, with offsets in code points. */
export const inPoints = (encodings: readonly Encoding[], places: readonly TextPlaces[]): readonly Encoding[] =>
  places.every(({ areAlike }) => areAlike)
    ? encodings
    : encodings.map((encoding, i) =>
        converted(
          encoding,
          () => places[i],
          (text, unit) => text.point(unit),
        ),
      );

/** An encoding of all texts, with offsets in UTF-16 units again. */
export const inUnits = (encoding: Encoding, places: readonly TextPlaces[]): Encoding =>
  places.every(({ areAlike }) => areAlike)
    ? encoding
    : converted(
        encoding,
        (sequence) => places[sequence],
        (text, point) => text.unit(point),
      );

function converted(
  encoding: Encoding,
  placesOf: (sequence: number) => TextPlaces | undefined,
  convert: (places: TextPlaces, place: number) => number,
): Encoding {
  const offsets = encoding.offsets.map((place, i) => {
    const places = placesOf(encoding.sequenceIds[i >> 1] as number);
    return places ? convert(places, place) : place;
  });
  return { ...encoding, offsets, overflowing: encoding.overflowing.map((window) => converted(window, placesOf, convert)) };
}
