/** Several datasets as one stream, in given proportions. */

import { ArgumentError } from "../../errors.js";
import { namedRandom } from "../../graph/random.js";
import { type Cursor, type Dataset, dataset, fields, type Position } from "./dataset.js";

export interface WeightedDataset<T> {
  readonly dataset: Dataset<T>;
  /** Share of the values, relative to the other weights. Default 1. */
  readonly weight?: number;
}

export interface InterleaveOptions {
  readonly seed: number;
  /**
   * "all-exhausted" (the default): a source that ends leaves its share to the others, and every value is read once.
   * "first-exhausted": the stream ends with the first source that does, so that the proportions hold to the end.
   */
  readonly until?: "all-exhausted" | "first-exhausted";
}

/** Values of all sources: where each comes from is drawn, from the seed and its place alone, in proportion to the weights. */
export function interleaved<T>(
  sources: readonly WeightedDataset<T>[],
  { seed, until = "all-exhausted" }: InterleaveOptions,
): Dataset<T> {
  const weights = sources.map(({ weight = 1 }) => weight);
  if (sources.length === 0 || weights.some((weight) => !(weight > 0 && Number.isFinite(weight))))
    throw new ArgumentError(
      `Interleaving takes at least one dataset, with weights above 0, but the weights are [${weights.join(", ")}].`,
    );

  return dataset(async function* (from) {
    const saved = fields(from, "interleaved", ["drawn", "ended", "sources"]);
    const places = saved.sources as readonly Position[] | undefined;
    const ended = new Set((saved.ended as readonly number[] | undefined) ?? []);
    let drawn = Number(saved.drawn ?? 0);
    const cursors: Cursor<T>[] = sources.map(({ dataset: one }, i) => one.open(places?.[i]));
    const positions = cursors.map((cursor) => cursor.position());
    try {
      while (ended.size < sources.length) {
        const chosen = choose(weights, ended, namedRandom(seed, "data.interleave", drawn).uniform());
        const cursor = cursors[chosen] as Cursor<T>;
        const { done, value } = await cursor.next();
        drawn++;
        if (done) {
          if (until === "first-exhausted") return;
          ended.add(chosen);
          continue;
        }
        positions[chosen] = cursor.position();
        yield [{ value, after: { drawn, ended: [...ended], sources: [...positions] } }];
      }
    } finally {
      for (const cursor of cursors) await cursor.return();
    }
  });
}

/** Index of the source that `uniform` in [0, 1) falls to, among those that have not ended. */
function choose(weights: readonly number[], ended: ReadonlySet<number>, uniform: number): number {
  const open = weights.flatMap((weight, i) => (ended.has(i) ? [] : [{ i, weight }]));
  let left = uniform * open.reduce((sum, { weight }) => sum + weight, 0);
  for (const { i, weight } of open) {
    left -= weight;
    if (left < 0) return i;
  }
  return open.at(-1)?.i ?? 0;
}
