/** Token ids as an option of commands. */

import { InvalidArgumentError } from "commander";

/** `1,2,3`, with or without spaces. */
export function tokenIds(text: string): readonly number[] {
  const ids = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (ids.every((id) => Number.isInteger(id) && id >= 0)) return ids;
  throw new InvalidArgumentError("It must be whole numbers with commas between them, such as 1,2,3.");
}
