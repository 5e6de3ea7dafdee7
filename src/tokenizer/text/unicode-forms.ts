/** Unicode's normalization forms, with where each character came from (Unicode Standard Annex 15). */

import type { AlignedText } from "./aligned-text.js";
import { unknownToNormalizationPattern } from "./characters.js";
import { graphemes } from "./graphemes.js";
import { Transformation, transformed } from "./transform.js";

export type UnicodeForm = "NFC" | "NFD" | "NFKC" | "NFKD";

/** A normalizer that leaves alone what the Rust library's tables do not know. */
export function unicodeNormalizer(form: UnicodeForm): (source: AlignedText) => AlignedText {
  const unknown = unknownToNormalizationPattern();
  const known = new RegExp(`(${unknown.source})`, "u");
  const inForm = (text: string, wanted: UnicodeForm) =>
    unknown.test(text)
      ? text
          .split(known)
          .map((part, i) => (i % 2 === 1 ? part : part.normalize(wanted)))
          .join("")
      : text.normalize(wanted);
  const decomposes = form === "NFKC" || form === "NFKD" ? "NFKD" : "NFD";
  const composes = form === "NFC" || form === "NFKC";

  /** The characters of `part` taken apart, in the order of the form: the first of each stands for it, the others are inserted. */
  const decomposition = (part: string): Transformation => {
    const inOrderOfText = new Transformation();
    for (const character of part)
      for (const [i, piece] of [...inForm(character, decomposes)].entries()) inOrderOfText.add(piece, i === 0 ? 0 : 1);
    const queue = new Occurrences(inOrderOfText.characters);
    const ordered = new Transformation();
    for (const character of inForm(part, decomposes))
      ordered.add(character, inOrderOfText.changes[queue.take(character)] as number);
    return ordered;
  };

  const composition = (part: string): Transformation => {
    const apart = decomposition(part);
    const queue = new Occurrences(apart.characters);
    const result = new Transformation();
    for (const character of inForm(part, form)) {
      const [first = character, ...joined] = inForm(character, "NFD");
      let change = apart.changes[queue.take(first)] as number;
      for (const piece of joined) change += (apart.changes[queue.take(piece)] as number) - 1;
      result.add(character, change);
    }
    return result;
  };

  return (source) => {
    const { text, alignment } = source;
    if (!alignment) return { text: inForm(text, form), alignment };
    if (inForm(text, form) === text) return source;
    const all = new Transformation();
    for (const { start, end } of graphemes(text)) {
      const part = text.slice(start, end);
      const changed = inForm(part, form) === part ? undefined : composes ? composition(part) : decomposition(part);
      if (changed) changed.characters.forEach((character, i) => void all.add(character, changed.changes[i] as number));
      else for (const character of part) all.add(character, 0);
    }
    return transformed(source, all);
  };
}

/** Where characters stand in a list, each place to be taken once, the first first: equal marks keep their order. */
class Occurrences {
  private readonly places = new Map<string, number[]>();

  constructor(characters: readonly string[]) {
    characters.forEach((character, place) => {
      const known = this.places.get(character);
      if (known) known.push(place);
      else this.places.set(character, [place]);
    });
    for (const places of this.places.values()) places.reverse();
  }

  take(character: string): number {
    return this.places.get(character)?.pop() ?? 0;
  }
}
