/** Streams of values that can be stopped anywhere and gone on with, without keeping what was read. */

import { TsumikiError } from "../../errors.js";

/** Plain data: what `JSON.stringify` keeps as it is. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A place in a dataset, for a checkpoint. What it looks like is the dataset's own business. */
export type Position = Json;

/** One reading of a dataset. */
export interface Cursor<T> extends AsyncIterableIterator<T> {
  /** Where a new cursor must be opened to get exactly what this one has not given yet. */
  position(): Position;
  return(): Promise<IteratorResult<T>>;
}

/** Values in an order of their own: opened twice at one position, it gives the same twice. */
export interface Dataset<T> {
  /** @throws TsumikiError DATA where the position is not one of this dataset */
  open(from?: Position): Cursor<T>;
  [Symbol.asyncIterator](): Cursor<T>;
}

/** A value and the position behind it. */
export interface Placed<T> {
  readonly value: T;
  readonly after: Position;
}

/**
 * A dataset out of a function that reads from a position (`undefined`: the beginning) and says with each value, or each batch of
 * values, where the next begins.
 */
export function dataset<T>(read: (from: Position | undefined) => AsyncIterable<readonly Placed<T>[]>): Dataset<T> {
  const open = (from?: Position): Cursor<T> => {
    const batches = read(from)[Symbol.asyncIterator]();
    let batch: readonly Placed<T>[] = [];
    let next = 0;
    let position = from;
    const cursor: Cursor<T> = {
      async next() {
        while (next >= batch.length) {
          const result = await batches.next();
          if (result.done) return { done: true, value: undefined };
          batch = result.value;
          next = 0;
        }
        const { value, after } = batch[next++] as Placed<T>;
        position = after;
        return { done: false, value };
      },
      async return() {
        await batches.return?.();
        batch = [];
        return { done: true, value: undefined };
      },
      position: () => position ?? null,
      [Symbol.asyncIterator]: () => cursor,
    };
    return cursor;
  };
  // `null` is the position of a cursor that has given nothing yet.
  const openFrom = (from?: Position) => open(from ?? undefined);
  return { open: openFrom, [Symbol.asyncIterator]: () => openFrom() };
}

/** Values that are in memory. */
export const datasetOf = <T>(values: readonly T[]): Dataset<T> =>
  dataset(async function* (from) {
    const start = from === undefined ? 0 : wholeNumber(from, "datasetOf", values.length);
    for (let i = start; i < values.length; i++) yield [{ value: values[i] as T, after: i + 1 }];
  });

/** Each value changed. */
export const mapped = <T, U>(source: Dataset<T>, change: (value: T) => U | Promise<U>): Dataset<U> =>
  dataset(async function* (from) {
    const cursor = source.open(from);
    try {
      for await (const value of cursor) yield [{ value: await change(value), after: cursor.position() }];
    } finally {
      await cursor.return();
    }
  });

/** The first `count` values. */
export const taken = <T>(source: Dataset<T>, count: number): Dataset<T> =>
  dataset(async function* (from) {
    const { done = 0, source: place } = fields(from, "taken", ["done", "source"]);
    const cursor = source.open(place);
    let given = Number(done);
    try {
      while (given < count) {
        const { done: ended, value } = await cursor.next();
        if (ended) return;
        given++;
        yield [{ value, after: { done: given, source: cursor.position() } }];
      }
    } finally {
      await cursor.return();
    }
  });

/** The dataset again and again, `epochs` times or without end. `make` is told the epoch, so that each may be shuffled in its own way. */
export const repeated = <T>(make: (epoch: number) => Dataset<T>, epochs: number = Number.POSITIVE_INFINITY): Dataset<T> =>
  dataset(async function* (from) {
    const { epoch: first = 0, source: place } = fields(from, "repeated", ["epoch", "source"]);
    let start = place;
    for (let epoch = Number(first); epoch < epochs; epoch++) {
      const cursor = make(epoch).open(start);
      let any = start !== undefined;
      start = undefined;
      try {
        for await (const value of cursor) {
          any = true;
          yield [{ value, after: { epoch, source: cursor.position() } }];
        }
      } finally {
        await cursor.return();
      }
      if (!any) return; // an empty dataset would be repeated for ever
    }
  });

/** The fields of a position that another dataset's would not have. */
export function fields<K extends string>(
  from: Position | undefined,
  name: string,
  keys: readonly K[],
): Partial<Readonly<Record<K, Position>>> {
  if (from === undefined) return {};
  if (typeof from === "object" && from !== null && !Array.isArray(from) && keys.every((key) => key in from))
    return from as Readonly<Record<K, Position>>;
  throw badPosition(from, name);
}

export function wholeNumber(from: Position, name: string, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof from === "number" && Number.isSafeInteger(from) && from >= 0 && from <= most) return from;
  throw badPosition(from, name);
}

export const badPosition = (from: Position, name: string): TsumikiError =>
  new TsumikiError(
    "DATA",
    `${JSON.stringify(from).slice(0, 200)} is no position of this data (${name}). A position fits the data and the options that it was saved with.`,
  );
