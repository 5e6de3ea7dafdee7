/** Leaving examples out, and saying which and why. */

import { type Example, textOf } from "../example.js";
import { type Dataset, dataset, fields } from "../stream/dataset.js";

/** Judges texts one after the other: `undefined` keeps one, a reason (one of few) drops it. */
export type Judge = (text: string) => string | undefined;

export interface Filter {
  readonly name: string;
  /** Of its rules: raised whenever they judge a text otherwise than before, so that tokens which were kept are made anew. */
  readonly version: number;
  /** Its options as they are in effect, defaults included. With name and version they decide what is dropped. */
  readonly settings: Readonly<Record<string, number>>;
  /** Whether it depends on what came before, as the search for duplicates does. */
  readonly remembers: boolean;
  /** Begins with nothing remembered. */
  readonly start: () => Judge;
}

/** What decides which texts filters drop: for keys of what is made of the rest. */
export const decisiveSettings = (filters: readonly Filter[]): readonly Pick<Filter, "name" | "version" | "settings">[] =>
  filters.map(({ name, version, settings }) => ({ name, version, settings }));

export interface DroppedExample {
  readonly reason: string;
  /** The beginning of the text. */
  readonly excerpt: string;
}

/** What one filter did, as far as the data was read. */
export interface FilterReport {
  readonly filter: string;
  readonly seen: number;
  readonly dropped: number;
  /** How often for each reason. */
  readonly reasons: ReadonlyMap<string, number>;
  /** The first few that were dropped. */
  readonly samples: readonly DroppedExample[];
}

export interface FilteredDataset extends Dataset<Example> {
  /** Of the latest reading: one for each filter, in their order. A filter sees what those before it have kept. */
  readonly reports: readonly FilterReport[];
}

const samplesKept = 5;
const excerptLength = 80;

/**
 * The examples that no filter drops. Pieces of a document that was too long to be read as one are kept unseen: a document with holes
 * would be worse than a bad one.
 *
 * A position of data with filters that remember holds how much was read: when it is gone on with, that much is read and judged again.
 */
export function filtered(source: Dataset<Example>, filters: readonly Filter[]): FilteredDataset {
  const remembers = filters.some((filter) => filter.remembers);
  let reports: readonly Tally[] = filters.map(({ name }) => new Tally(name));
  const stream = dataset<Example>(async function* (from) {
    const tallies = filters.map(({ name }) => new Tally(name));
    reports = tallies;
    const judges = filters.map(({ start }) => start());
    const saved = remembers ? fields(from, "filtered", ["read"]) : {};
    const before = Number(saved.read ?? 0);
    let read = 0;
    let inPieces = false;
    const cursor = source.open(remembers ? undefined : from);
    try {
      for await (const example of cursor) {
        read++;
        const isPiece = inPieces || (example.kind === "text" && example.continues === true);
        inPieces = example.kind === "text" && example.continues === true;
        const text = textOf(example);
        const kept = isPiece || tallies.every((tally, i) => tally.add((judges[i] as Judge)(text), text));
        if (kept && read > before) yield [{ value: example, after: remembers ? { read } : cursor.position() }];
      }
    } finally {
      await cursor.return();
    }
  });
  return {
    ...stream,
    get reports() {
      return reports;
    },
  };
}

class Tally implements FilterReport {
  seen = 0;
  dropped = 0;
  readonly reasons = new Map<string, number>();
  readonly samples: DroppedExample[] = [];

  constructor(readonly filter: string) {}

  /** Whether the text is kept. */
  add(reason: string | undefined, text: string): boolean {
    this.seen++;
    if (reason === undefined) return true;
    this.dropped++;
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    if (this.samples.length < samplesKept) this.samples.push({ reason, excerpt: excerptOf(text) });
    return false;
  }
}

const excerptOf = (text: string): string => {
  const line = text
    .slice(0, 2 * excerptLength)
    .replace(/\s+/g, " ")
    .trim();
  return line.length > excerptLength ? `${line.slice(0, excerptLength)}…` : line;
};

/** Lines for a person. */
export function describeReports(reports: readonly FilterReport[]): string[] {
  const count = (value: number) => value.toLocaleString("en-US");
  return reports.flatMap(({ filter, seen, dropped, reasons, samples }) => [
    `${filter}: ${count(dropped)} of ${count(seen)} dropped`,
    ...[...reasons].sort(([, a], [, b]) => b - a).map(([reason, times]) => `  ${count(times)} × ${reason}`),
    ...samples.map(({ reason, excerpt }) => `    ${JSON.stringify(excerpt)} (${reason})`),
  ]);
}
