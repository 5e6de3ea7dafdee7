/** What a reader takes for one character (Unicode Standard Annex 29). */

export interface Range {
  readonly start: number;
  readonly end: number;
}

let segmenter: Intl.Segmenter | undefined;

/** The grapheme clusters of `text[from, to)`, which must begin and end at their borders. */
export function* graphemes(text: string, from = 0, to = text.length): Generator<Range, void, undefined> {
  segmenter ??= new Intl.Segmenter("und", { granularity: "grapheme" });
  let at = from;
  while (at < to) {
    const alone = Math.min(to, endOfSimple(text, at));
    while (at < alone) yield { start: at, end: ++at };
    const joining = Math.min(to, startOfSimple(text, at));
    for (const { segment } of segmenter.segment(text.slice(at, joining))) {
      yield { start: at, end: at + segment.length };
      at += segment.length;
    }
  }
}

/** Where the run of characters from `at` ends that stand alone: simple ones with another such, or the end, behind them. */
export function endOfSimple(text: string, at: number): number {
  let end = at;
  while (end < text.length && isSimple(text.charCodeAt(end))) end++;
  return end === at || end === text.length ? end : end - 1; // what follows may join the last one
}

/** The next place from `at` on where a character stands alone, or the end. */
export function startOfSimple(text: string, at: number): number {
  let start = at;
  while (
    start < text.length &&
    !(isSimple(text.charCodeAt(start)) && (start + 1 === text.length || isSimple(text.charCodeAt(start + 1))))
  )
    start++;
  return start;
}

/** Printable ASCII, kana, Chinese characters and their punctuation: two of them side by side are two graphemes. */
const isSimple = (unit: number): boolean =>
  (unit >= 0x20 && unit < 0x7f) ||
  (unit >= 0x4e00 && unit <= 0x9fff) ||
  (unit >= 0x3001 && unit <= 0x3029) ||
  (unit >= 0x3041 && unit <= 0x3096) ||
  (unit >= 0x30a1 && unit <= 0x30fa) ||
  (unit >= 0xff01 && unit <= 0xff5e);
