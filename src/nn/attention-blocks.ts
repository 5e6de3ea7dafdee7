/** How attention is cut into blocks of queries, and which stretches of keys each of them meets. */

import { lookaheadOf, type Mask } from "./mask.js";

/** Queries a block. Measured: smaller blocks skip more of the triangle, larger ones multiply faster. */
export const BLOCK = 128;
/** More blocks than that only cost: compiling them, and the time between operators. Longer sequences get longer blocks. */
const MOST_BLOCKS = 16;
/** Most keys that a block meets at a time. Measured: shorter stretches take longer to compile, longer ones more memory. */
export const STRETCH = 2048;

/** Places from the first to one before `end`. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** Queries, and the keys that any of them may see. */
export interface Block extends Stretch {
  readonly keys: readonly Stretch[];
}

export interface BlockSizes {
  /** Queries a block. */
  readonly block: number;
  /** Most keys at a time. */
  readonly stretch: number;
}

/** The sizes that were measured to be good. */
export const blockSizes = (queries: number): BlockSizes => ({
  block: BLOCK * Math.ceil(queries / (MOST_BLOCKS * BLOCK)),
  stretch: STRETCH,
});

/** What bounds the keys of a block. */
export type Bounds = Pick<Mask, "causal" | "lookahead" | "window" | "sinks" | "prefix">;

/** The blocks of `queries`, the last of `keys`. Each meets at least one key, be it one that none of its queries sees. */
export function attentionBlocks(
  queries: number,
  keys: number,
  bounds: Bounds,
  { block: size, stretch: most }: BlockSizes = blockSizes(queries),
): readonly Block[] {
  const offset = keys - queries;
  const window = bounds.window ?? Number.POSITIVE_INFINITY;
  const lookahead = lookaheadOf(bounds);
  const prefix = typeof bounds.prefix === "number" ? bounds.prefix : bounds.prefix ? keys : 0;
  const blocks = Array.from({ length: Math.ceil(queries / size) }, (_, i) => {
    const [start, end] = [i * size, Math.min(queries, (i + 1) * size)];
    const firstSeen = Math.floor((offset + start - window + 1) / size) * size;
    const firstKey = Math.min(Math.max(0, firstSeen), keys - 1);
    // A prefix lifts the bound behind the queries, not the window.
    const endOfKeys = Math.max(Math.min(keys, Math.max(offset + end + lookahead, Math.min(prefix, keys))), firstKey + 1);
    return { start, end, firstKey, endOfKeys };
  });
  // All blocks cut at the same places, or none of them at all: gradients of keys are then summed stretch by stretch.
  const longest = Math.max(...blocks.map(({ firstKey, endOfKeys }) => endOfKeys - firstKey));
  const cuts = longest > most ? Math.ceil(keys / most) : 1;
  const length = longest > most ? most : keys;
  const cut = (from: number, to: number) =>
    Array.from({ length: cuts }, (_, i) => ({
      start: Math.max(from, i * length),
      end: Math.min(to, (i + 1) * length),
    })).filter((stretch) => stretch.start < stretch.end);
  return blocks.map(({ start, end, firstKey, endOfKeys }) => {
    const sinks = Math.min(bounds.sinks ?? 0, firstKey, keys);
    return { start, end, keys: [...(sinks > 0 ? [{ start: 0, end: sinks }] : []), ...cut(firstKey, endOfKeys)] };
  });
}
