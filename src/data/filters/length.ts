import { ArgumentError } from "../../errors.js";
import type { Filter } from "./filter.js";

export interface LengthOptions {
  /** [characters], counted as code points. */
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Texts that are too short or too long. */
export function lengthFilter({ minimum = 1, maximum = Number.POSITIVE_INFINITY }: LengthOptions): Filter {
  if (!(minimum <= maximum)) throw new ArgumentError(`A text cannot have at least ${minimum} and at most ${maximum} characters.`);
  const format = (count: number) => count.toLocaleString("en-US");
  const length = (text: string) => {
    let count = 0;
    for (const _ of text) count++;
    return count;
  };
  return {
    name: "length",
    version: 1,
    settings: { minimum, ...(maximum === Number.POSITIVE_INFINITY ? {} : { maximum }) },
    remembers: false,
    start: () => (text) => {
      // A text has at most as many code points as UTF-16 units, and at least half as many.
      const characters = text.length < minimum || text.length > 2 * maximum ? text.length : length(text);
      if (characters < minimum) return `fewer than ${format(minimum)} characters`;
      return characters > maximum ? `more than ${format(maximum)} characters` : undefined;
    },
  };
}
