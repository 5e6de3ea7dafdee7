/** The substrings that a Unigram vocabulary is chosen from: those that occur often, found by sorting all suffixes. */

/** Separates words; it is no character that a piece could have. */
export const boundary = 0;

export interface SeedPiece {
  /** Where the substring stands first, and its length [code points]. */
  readonly start: number;
  readonly length: number;
  /** Occurrences times length. */
  readonly score: number;
}

/**
 * The substrings of two characters up to `longest` that occur at least twice and are followed by different characters (others can be
 * longer without occurring less), with the highest scores first: the inner nodes of the words' suffix tree, as in SentencePiece. They
 * are the intervals of a suffix array that is sorted as far as the longest piece needs (Abouelhoda et al. 2004).
 *
 * @param text the words' code points, each word with a boundary behind it
 */
export function seedPieces(text: Int32Array, longest: number, most: number): SeedPiece[] {
  const suffixes = new Int32Array(text.reduce((count, code) => count + (code === boundary ? 0 : 1), 0));
  let size = 0;
  for (let at = 0; at < text.length; at++) if (text[at] !== boundary) suffixes[size++] = at;
  const depth = longest + 1;
  sortSuffixes(text, suffixes, depth);

  const found: SeedPiece[] = [];
  const report = (start: number, length: number, occurrences: number) => {
    if (length < 2 || length > longest || text[start + length - 1] === boundary) return;
    found.push({ start, length, score: occurrences * length });
  };
  // Intervals of suffixes that begin alike, from the inside out: a stack of their lengths and left ends.
  const lengths = [0];
  const lefts = [0];
  for (let i = 1; i <= size; i++) {
    const common = i < size ? commonPrefix(text, suffixes[i - 1] as number, suffixes[i] as number, depth) : 0;
    let left = i - 1;
    while ((lengths.at(-1) as number) > common) {
      const length = lengths.pop() as number;
      left = lefts.pop() as number;
      report(suffixes[left] as number, length, i - left);
    }
    if ((lengths.at(-1) as number) < common) {
      lengths.push(common);
      lefts.push(left);
    }
  }
  found.sort((a, b) => b.score - a.score || a.start - b.start || a.length - b.length);
  return found.length > most ? found.slice(0, most) : found;
}

/** Characters in which two suffixes agree, a boundary included, which ends them. */
function commonPrefix(text: Int32Array, a: number, b: number, depth: number): number {
  let length = 0;
  while (length < depth && text[a + length] === text[b + length]) {
    length++;
    if (text[a + length - 1] === boundary) break;
  }
  return length;
}

/** Multikey quicksort (Bentley & Sedgewick 1997) by the first `depth` characters. */
function sortSuffixes(text: Int32Array, suffixes: Int32Array, depth: number): void {
  const pending: [number, number, number][] = [[0, suffixes.length, 0]];
  const swap = (i: number, j: number) => {
    const suffix = suffixes[i] as number;
    suffixes[i] = suffixes[j] as number;
    suffixes[j] = suffix;
  };
  for (let range = pending.pop(); range !== undefined; range = pending.pop()) {
    const [start, end, level] = range;
    if (end - start < 2 || level >= depth) continue;
    if (end - start < 12) {
      for (let i = start + 1; i < end; i++)
        for (let j = i; j > start && isBefore(text, suffixes[j] as number, suffixes[j - 1] as number, level, depth); j--)
          swap(j, j - 1);
      continue;
    }
    const at = (i: number) => text[(suffixes[i] as number) + level] as number;
    const middle = (start + end) >> 1;
    const pivot = medianOf(at(start), at(middle), at(end - 1));
    let less = start;
    let more = end;
    for (let i = start; i < more; ) {
      const character = at(i);
      if (character < pivot) swap(less++, i++);
      else if (character > pivot) swap(i, --more);
      else i++;
    }
    pending.push([start, less, level], [more, end, level]);
    if (pivot !== boundary) pending.push([less, more, level + 1]);
  }
}

function isBefore(text: Int32Array, a: number, b: number, level: number, depth: number): boolean {
  for (let i = level; i < depth; i++) {
    const [x, y] = [text[a + i] as number, text[b + i] as number];
    if (x !== y) return x < y;
    if (x === boundary) return false;
  }
  return false;
}

const medianOf = (a: number, b: number, c: number): number => Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
