/** Rewriting an aligned text character by character, with the arithmetic of Rust's `NormalizedString::transform`. */

import type { AlignedText } from "./aligned-text.js";

/** What a text becomes: characters, each with how many it stands for. */
export class Transformation {
  readonly characters: string[] = [];
  /** 0 for a character in place of another, 1 for one that is inserted behind it, -n where n more are taken away with it. */
  readonly changes: number[] = [];

  add(character: string, change: number): void {
    this.characters.push(character);
    this.changes.push(change);
  }

  /** The `before` characters become `after`: the last of these are inserted, or the last takes those away that are too many. */
  replace(before: string, after: string): void {
    const characters = [...after];
    const more = characters.length - [...before].length;
    for (const [i, character] of characters.entries()) this.add(character, i >= characters.length - more ? 1 : 0);
    const last = this.changes.length - 1;
    if (more < 0 && last >= 0) this.changes[last] = (this.changes[last] as number) + more;
  }
}

/** `source` as `transformation` has it. An inserted character has the range of what stands before the place that has been reached. */
export function transformed({ text, alignment }: AlignedText, { characters, changes }: Transformation): AlignedText {
  const result = characters.join("");
  if (!alignment) return { text: result, alignment };
  const starts = new Int32Array(result.length);
  const ends = new Int32Array(result.length);
  const widthAt = (at: number) => (at >= text.length ? 0 : (text.codePointAt(at) as number) > 0xffff ? 2 : 1);
  let read = 0; // how far in `text`
  let written = 0;
  characters.forEach((character, i) => {
    const change = changes[i] as number;
    const from = Math.min(change > 0 ? read - 1 : read, text.length - 1);
    const [start, end] =
      from < 0 ? [alignment.origin, alignment.origin] : [alignment.starts[from] as number, alignment.ends[from] as number];
    for (let unit = 0; unit < character.length; unit++) {
      starts[written] = start;
      ends[written++] = end;
    }
    for (let taken = change > 0 ? 1 : change; taken <= 0; taken++) read += widthAt(read);
  });
  return { text: result, alignment: { starts, ends, origin: alignment.origin } };
}
