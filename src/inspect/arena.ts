/** ONNX Runtime's arena (`onnxruntime/core/framework/bfc_arena.cc`): best fit with coalescing, in regions that grow in powers of two. */

/** A piece of a region, linked to its neighbours. */
export interface Chunk {
  readonly region: number;
  readonly offset: number;
  size: number;
  isFree: boolean;
  before: Chunk | undefined;
  after: Chunk | undefined;
}

/** Sizes are multiples of that. */
const UNIT = 256;
const FIRST_REGION = 2 ** 20;
const LARGEST_REGION = 2 ** 30;
/** A chunk is split when it is twice as large as what is asked for, or when so much would be wasted. */
const MOST_WASTED = 2 ** 27;
/** Bytes that a region takes besides, all written at once: a handle for each unit. */
const HANDLE = 8;
/** Granularity of what is counted as touched. */
const PAGE = 2 ** 16;

export class Arena {
  #nextRegion = FIRST_REGION;
  /** For each region, which pages were ever written. */
  readonly #pages: Uint8Array[] = [];
  readonly #free: Chunk[] = [];
  #tableBytes = 0;

  /** Bytes that were ever handed out, and those of the tables: these are resident, the others are promised by the system only. */
  get touchedBytes(): number {
    const handedOut = PAGE * this.#pages.reduce((total, pages) => total + pages.reduce((sum, touched) => sum + touched, 0), 0);
    return handedOut + this.#tableBytes;
  }

  allocate(bytes: number): Chunk {
    const size = UNIT * Math.max(1, Math.ceil(bytes / UNIT));
    const chunk = this.#take(size) ?? this.#extend(size);
    const pages = this.#pages[chunk.region] as Uint8Array;
    pages.fill(1, Math.floor(chunk.offset / PAGE), Math.ceil((chunk.offset + bytes) / PAGE));
    return chunk;
  }

  free(chunk: Chunk): void {
    let merged = chunk;
    if (merged.after?.isFree) {
      const { after } = merged;
      this.#remove(after);
      merged.size += after.size;
      link(merged, after.after);
    }
    if (merged.before?.isFree) {
      const { before } = merged;
      this.#remove(before);
      before.size += merged.size;
      link(before, merged.after);
      merged = before;
    }
    this.#add(merged);
  }

  /** The smallest free chunk that is large enough; of equal ones that at the lowest address. */
  #take(size: number): Chunk | undefined {
    const chunk = this.#free.find((candidate) => candidate.size >= size);
    if (!chunk) return undefined;
    this.#remove(chunk);
    if (chunk.size >= 2 * size || chunk.size - size >= MOST_WASTED) {
      const rest: Chunk = { ...chunk, offset: chunk.offset + size, size: chunk.size - size, before: chunk };
      link(rest, chunk.after);
      chunk.after = rest;
      chunk.size = size;
      this.#add(rest);
    }
    return chunk;
  }

  #extend(size: number): Chunk {
    const fits = size <= this.#nextRegion;
    while (size > this.#nextRegion) this.#nextRegion *= 2;
    const bytes = Math.min(this.#nextRegion, Math.max(size, LARGEST_REGION));
    if (fits) this.#nextRegion *= 2;
    this.#pages.push(new Uint8Array(Math.ceil(bytes / PAGE)));
    this.#tableBytes += (HANDLE * bytes) / UNIT;
    this.#add({ region: this.#pages.length - 1, offset: 0, size: bytes, isFree: true, before: undefined, after: undefined });
    return this.#take(size) as Chunk;
  }

  #add(chunk: Chunk): void {
    chunk.isFree = true;
    const at = this.#free.findIndex((other) => compare(other, chunk) > 0);
    this.#free.splice(at < 0 ? this.#free.length : at, 0, chunk);
  }

  #remove(chunk: Chunk): void {
    this.#free.splice(this.#free.indexOf(chunk), 1);
    chunk.isFree = false;
  }
}

/** Linux gives each new region an address below those of the regions before. */
const compare = (a: Chunk, b: Chunk): number => a.size - b.size || b.region - a.region || a.offset - b.offset;

function link(chunk: Chunk, after: Chunk | undefined): void {
  chunk.after = after;
  if (after) after.before = chunk;
}
