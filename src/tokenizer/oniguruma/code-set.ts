/** Sets of code points. */

const codePoints = 0x110000;
const blockBits = 8;
const wordsInBlock = 1 << (blockBits - 5);

export class CodeSet {
  private blocks: { readonly index: Uint16Array; readonly words: Uint32Array } | undefined;

  /** @param bounds start and end (exclusive) of each range, in order, with gaps between them */
  private constructor(private readonly bounds: readonly number[]) {}

  static readonly none = new CodeSet([]);
  static readonly all = new CodeSet([0, codePoints]);

  static of(...codes: readonly number[]): CodeSet {
    return CodeSet.ofRanges(codes.map((code) => [code, code + 1] as const));
  }

  /** Ranges [start, end) in any order. */
  static ofRanges(ranges: readonly (readonly [start: number, end: number])[]): CodeSet {
    const bounds: number[] = [];
    for (const [start, end] of [...ranges].sort((a, b) => a[0] - b[0])) {
      if (start >= end) continue;
      const last = bounds.length - 1;
      if (last > 0 && start <= (bounds[last] as number)) bounds[last] = Math.max(bounds[last] as number, end);
      else bounds.push(start, end);
    }
    return new CodeSet(bounds);
  }

  /** Ranges as text: the gap to the range before and the length, alternating, in base 36. */
  static parse(text: string): CodeSet {
    let at = 0;
    return new CodeSet(text.split(" ").map((length) => (at += Number.parseInt(length, 36))));
  }

  get ranges(): [start: number, end: number][] {
    return Array.from({ length: this.bounds.length / 2 }, (_, i) => [
      this.bounds[2 * i] as number,
      this.bounds[2 * i + 1] as number,
    ]);
  }

  /** The same for sets of the same characters. */
  get key(): string {
    return this.bounds.join();
  }

  get isEmpty(): boolean {
    return this.bounds.length === 0;
  }

  union(...others: readonly CodeSet[]): CodeSet {
    return CodeSet.ofRanges([this, ...others].flatMap(({ ranges }) => ranges));
  }

  complement(): CodeSet {
    const { bounds } = this;
    const inner = bounds[0] === 0 ? bounds.slice(1) : [0, ...bounds];
    return new CodeSet(inner.at(-1) === codePoints ? inner.slice(0, -1) : [...inner, codePoints]);
  }

  intersection(other: CodeSet): CodeSet {
    return this.complement().union(other.complement()).complement();
  }

  has(code: number): boolean {
    const { index, words } = this.blocks ?? this.makeBlocks();
    const block = index[code >>> blockBits] as number;
    return (((words[block * wordsInBlock + ((code >>> 5) & (wordsInBlock - 1))] as number) >>> (code & 31)) & 1) !== 0;
  }

  /** Bits in blocks of 256, of which most are alike: all ones or all zeros. */
  private makeBlocks(): { readonly index: Uint16Array; readonly words: Uint32Array } {
    const index = new Uint16Array(codePoints >>> blockBits);
    const words: number[] = [...new Array<number>(wordsInBlock).fill(0), ...new Array<number>(wordsInBlock).fill(0xffffffff)];
    const size = 1 << blockBits;
    for (const [start, end] of this.ranges) {
      for (let code = start; code < end; ) {
        const block = code >>> blockBits;
        const stop = Math.min(end, (block + 1) * size);
        if (stop - code === size) index[block] = 1;
        else {
          if (index[block] === 0) {
            index[block] = words.length / wordsInBlock;
            words.push(...new Array<number>(wordsInBlock).fill(0));
          }
          for (let at = code; at < stop; at++) {
            const word = (index[block] as number) * wordsInBlock + ((at >>> 5) & (wordsInBlock - 1));
            words[word] = ((words[word] as number) | (1 << (at & 31))) >>> 0;
          }
        }
        code = stop;
      }
    }
    this.blocks = { index, words: Uint32Array.from(words) };
    return this.blocks;
  }
}
