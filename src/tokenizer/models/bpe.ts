/** Encoding with byte pair merges (Sennrich et al. 2016): the merge that was learned first goes first, from left to right. */

import { TsumikiError } from "../../errors.js";
import { grown } from "../grown.js";
import type { TokenizerJson } from "../tokenizer-json.js";
import { UnknownCharacterError } from "../unknown-character.js";
import { byteFallback, type SubwordModel, type TokenList, Vocabulary } from "./model.js";
import { NumberHeap } from "./number-heap.js";
import { PairMap } from "./pair-map.js";

const none = -1;
const noRank = 0x7fffffff;
/** Up to so many symbols the best merge is found by looking at all; beyond, with a heap. */
const shortWord = 48;
/** The arrays of a longer word are not kept for the next. [symbols] */
const keptLength = 1 << 20;

export function bpeModel(model: TokenizerJson["model"]): SubwordModel {
  if (typeof model.dropout === "number" && model.dropout > 0)
    throw new TsumikiError(
      "TOKENIZER",
      "This tokenizer.json asks for BPE dropout, which is not known here. Set model.dropout to null.",
    );
  const vocabulary = new Vocabulary(new Map(Object.entries(model.vocab as Record<string, number>)));
  const prefix = String(model.continuing_subword_prefix ?? "");
  const suffix = String(model.end_of_word_suffix ?? "");
  const unknownToken = model.unk_token;
  const unknown = typeof unknownToken === "string" ? vocabulary.need(unknownToken, "unk_token") : none;
  const bytes = model.byte_fallback === true ? byteFallback(vocabulary) : undefined;
  const initial = new InitialSymbols(vocabulary, prefix, suffix);
  const merges = mergesOf(model.merges, vocabulary, prefix);
  const merger = new Merger(merges);
  const wholeFirst = model.ignore_merges === true;
  const fuse = model.fuse_unk === true;

  const encode = (piece: string, tokens: TokenList): void => {
    if (wholeFirst) {
      const id = vocabulary.ids.get(piece);
      if (id !== undefined) {
        tokens.push(id, piece.length);
        return;
      }
    }
    merger.begin(piece.length);
    let waitingEnd = none; // end of an unknown that the next one may join
    for (let at = 0; at < piece.length; ) {
      const code = piece.codePointAt(at) as number;
      const end = at + (code > 0xffff ? 2 : 1);
      const id = initial.idOf(code, at === 0, end === piece.length);
      const inBytes = id === none ? bytes?.(initial.spelling(code, at === 0, end === piece.length)) : undefined;
      if (id !== none) {
        if (waitingEnd !== none) merger.add(unknown, waitingEnd);
        waitingEnd = none;
        merger.add(id, end);
      } else if (inBytes) {
        if (waitingEnd !== none) merger.add(unknown, waitingEnd);
        waitingEnd = none;
        merger.addBytes(inBytes, at, end);
      } else if (unknown !== none) {
        if (waitingEnd !== none && !fuse) merger.add(unknown, waitingEnd);
        waitingEnd = end;
      } else throw new UnknownCharacterError(piece.slice(at, end), vocabulary.ids.size);
      at = end;
    }
    if (waitingEnd !== none) merger.add(unknown, waitingEnd);
    merger.merge(tokens);
  };

  return {
    size: vocabulary.size,
    encode,
    tokenToId: (token) => vocabulary.ids.get(token),
    idToToken: (id) => vocabulary.token(id),
  };
}

function mergesOf(merges: unknown, vocabulary: Vocabulary, prefix: string): PairMap {
  if (!Array.isArray(merges)) throw new TsumikiError("TOKENIZER", "The BPE model of this tokenizer.json has no list of merges.");
  const pairs = new PairMap(merges.length);
  merges.forEach((merge: unknown, rank) => {
    const parts: readonly unknown[] = Array.isArray(merge) ? merge : typeof merge === "string" ? merge.split(" ") : [];
    const [left, right] = parts;
    if (parts.length !== 2 || typeof left !== "string" || typeof right !== "string")
      throw new TsumikiError(
        "TOKENIZER",
        `Merge ${rank} of this tokenizer.json is ${JSON.stringify(merge)}, but each is two tokens: "a b" or ["a", "b"].`,
      );
    const joined = left + (prefix !== "" && right.startsWith(prefix) ? right.slice(prefix.length) : right);
    const ids = [left, right, joined].map((token) => vocabulary.need(token, `part of merge ${rank}`)) as [number, number, number];
    pairs.set(ids[0], ids[1], rank, ids[2]);
  });
  return pairs;
}

/** The id of a character at the beginning, in the middle, at the end of a word. */
class InitialSymbols {
  private readonly isPlain: boolean;
  /** Ids of the characters of the basic plane without prefix and suffix; -2 where not looked up yet. */
  private readonly plain = new Int32Array(0x10000).fill(-2);

  constructor(
    private readonly vocabulary: Vocabulary,
    private readonly prefix: string,
    private readonly suffix: string,
  ) {
    this.isPlain = prefix === "" && suffix === "";
  }

  idOf(code: number, isFirst: boolean, isLast: boolean): number {
    if (!this.isPlain || code > 0xffff) return this.lookUp(code, isFirst, isLast);
    const known = this.plain[code] as number;
    if (known !== -2) return known;
    const id = this.lookUp(code, isFirst, isLast);
    this.plain[code] = id;
    return id;
  }

  spelling(code: number, isFirst: boolean, isLast: boolean): string {
    return `${isFirst ? "" : this.prefix}${String.fromCodePoint(code)}${isLast ? this.suffix : ""}`;
  }

  private lookUp(code: number, isFirst: boolean, isLast: boolean): number {
    return this.vocabulary.ids.get(this.spelling(code, isFirst, isLast)) ?? none;
  }
}

/** Where symbols stand that overlap in the text, as the bytes of a character do. */
interface Places {
  readonly starts: number[];
  readonly ends: number[];
}

/** Merges the symbols of one word after the other; its arrays are used again. */
class Merger {
  private length = 0;
  private symbols!: Int32Array;
  private ends!: Int32Array;
  private places: Places | undefined;
  /** Of a short word: the rank of the merge of each symbol with the next one, and what it makes. */
  private readonly ranks = new Int32Array(shortWord);
  private readonly made = new Int32Array(shortWord);
  /** Of a long word: which symbols are left beside each one. */
  private next!: Int32Array;
  private previous!: Int32Array;

  constructor(private readonly merges: PairMap) {
    this.allocate(64);
  }

  private allocate(length: number): void {
    this.symbols = new Int32Array(length);
    this.ends = new Int32Array(length);
    this.next = new Int32Array(0);
    this.previous = this.next;
  }

  /** @param length about how many symbols will be added */
  begin(length: number): void {
    this.length = 0;
    this.places = undefined;
    if (length > keptLength) this.allocate(length);
    else if (this.symbols.length > keptLength) this.allocate(64);
  }

  add(symbol: number, end: number): void {
    if (this.places) {
      this.places.starts.push(this.places.ends.at(-1) as number);
      this.places.ends.push(end);
    }
    this.append(symbol, this.places ? this.length + 1 : end);
  }

  /** Bytes of one character: each stands for all of it. */
  addBytes(bytes: readonly number[], start: number, end: number): void {
    this.places ??= this.numbered();
    for (const byte of bytes) {
      this.places.starts.push(start);
      this.places.ends.push(end);
      this.append(byte, this.length + 1);
    }
  }

  /** From here on symbols end at their number, and where they stand is told apart. */
  private numbered(): Places {
    const ends = Array.from(this.ends.subarray(0, this.length));
    for (let i = 0; i < this.length; i++) this.ends[i] = i + 1;
    return { starts: ends.map((_, i) => (i === 0 ? 0 : (ends[i - 1] as number))), ends };
  }

  private append(symbol: number, end: number): void {
    if (this.length === this.symbols.length) {
      this.symbols = grown(this.symbols);
      this.ends = grown(this.ends);
    }
    this.symbols[this.length] = symbol;
    this.ends[this.length++] = end;
  }

  merge(tokens: TokenList): void {
    const { symbols, ends, places } = this;
    const count = this.length <= shortWord ? this.mergeShort() : this.mergeLong();
    if (places) {
      for (let i = 0, from = 0; i < count; i++) {
        const to = ends[i] as number;
        tokens.push(symbols[i] as number, places.ends[to - 1] as number, places.starts[from] as number);
        from = to;
      }
    } else for (let i = 0; i < count; i++) tokens.push(symbols[i] as number, ends[i] as number);
  }

  /** Looks at all pairs for each merge, and closes the gap. Returns how many symbols are left. */
  private mergeShort(): number {
    const { symbols, ends, ranks, made } = this;
    let count = this.length;
    for (let i = 0; i + 1 < count; i++) this.look(i, symbols[i + 1] as number);
    while (count > 1) {
      let best = 0;
      let bestRank = noRank;
      for (let i = 0; i + 1 < count; i++) {
        const rank = ranks[i] as number;
        if (rank < bestRank) {
          bestRank = rank;
          best = i;
        }
      }
      if (bestRank === noRank) break;
      symbols[best] = made[best] as number;
      ends[best] = ends[best + 1] as number;
      count--;
      for (let i = best + 1; i < count; i++) {
        symbols[i] = symbols[i + 1] as number;
        ends[i] = ends[i + 1] as number;
        ranks[i] = ranks[i + 1] as number;
        made[i] = made[i + 1] as number;
      }
      if (best > 0) this.look(best - 1, symbols[best] as number);
      if (best + 1 < count) this.look(best, symbols[best + 1] as number);
    }
    return count;
  }

  /** The same in O(n log n), with a heap of (rank, place) and symbols that are linked. */
  private mergeLong(): number {
    const { merges, symbols, ends, length } = this;
    if (this.next.length < length) {
      this.next = new Int32Array(symbols.length);
      this.previous = new Int32Array(symbols.length);
    }
    const { next, previous } = this;
    const heap = new NumberHeap(length);
    /** Where the merge of a symbol with the one behind it stands in `merges`, or -1. */
    const mergeAt = (at: number): number => {
      const right = next[at] as number;
      return right === none ? -1 : merges.find(symbols[at] as number, symbols[right] as number);
    };
    const push = (at: number) => {
      const place = mergeAt(at);
      if (place >= 0) heap.push(merges.rankAt(place) * 0x100000000 + at);
    };
    for (let i = 0; i < length; i++) {
      next[i] = i + 1 < length ? i + 1 : none;
      previous[i] = i - 1;
    }
    for (let i = 0; i < length; i++) push(i);
    for (let top = heap.pop(); top !== undefined; top = heap.pop()) {
      const rank = Math.floor(top / 0x100000000);
      const at = top - rank * 0x100000000;
      // Merged or changed since it was pushed: looked up again, since remembering it for every symbol would take eight bytes of each.
      const place = symbols[at] === none ? -1 : mergeAt(at);
      if (place < 0 || merges.rankAt(place) !== rank) continue;
      const gone = next[at] as number;
      const after = next[gone] as number;
      symbols[at] = merges.idAt(place);
      ends[at] = ends[gone] as number;
      symbols[gone] = none;
      next[at] = after;
      if (after !== none) previous[after] = at;
      push(at);
      const before = previous[at] as number;
      if (before !== none) push(before);
    }
    let count = 0;
    for (let at = 0; at !== none; at = next[at] as number) {
      symbols[count] = symbols[at] as number;
      ends[count++] = ends[at] as number;
    }
    return count;
  }

  private look(at: number, right: number): void {
    const place = this.merges.find(this.symbols[at] as number, right);
    this.ranks[at] = place < 0 ? noRank : this.merges.rankAt(place);
    this.made[at] = place < 0 ? none : this.merges.idAt(place);
  }
}
