/** What is in files of data, without knowing it beforehand (Node). */

import { namedRandom } from "../graph/random.js";
import type { BadRow, RowPlace } from "./bad-rows.js";
import type { Compression, FileKind } from "./data-file.js";
import { type Example, type ExampleKind, textOf } from "./example.js";
import { type ReadOptions, readLocatedExamples } from "./examples.node.js";
import type { FormatName } from "./formats/formats.js";

export interface InspectOptions extends Omit<ReadOptions, "onBadRow"> {
  /** Length of a text. Default: its characters, counted as code points. */
  readonly lengthOf?: (text: string) => number;
  /** Examples to show, drawn from all with equal chances. Default 3. */
  readonly samples?: number;
  readonly onProgress?: (progress: { readonly read: number; readonly total: number }) => void;
}

export interface FileInspection {
  readonly path: string;
  readonly kind: FileKind;
  readonly compression: Compression;
  /** What its rows are; absent when none is good. */
  readonly format?: FormatName;
  readonly rows: number;
  readonly badRows: number;
}

/** Rows with a length from `from` up to `to`, both included. */
export interface LengthBin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

export interface LengthSummary {
  readonly total: number;
  readonly minimum: number;
  readonly median: number;
  /** Nine tenths, and ninety-nine hundredths, of the rows are not longer. */
  readonly percentile90: number;
  readonly percentile99: number;
  readonly maximum: number;
  /** Each bin twice as wide as the one before. */
  readonly histogram: readonly LengthBin[];
}

export interface DataInspection {
  readonly files: readonly FileInspection[];
  readonly ignored: readonly string[];
  readonly rows: number;
  readonly kinds: Readonly<Partial<Record<ExampleKind, number>>>;
  /** How often each role speaks, in conversations and preferences. */
  readonly roles: Readonly<Record<string, number>>;
  /** How often each class or label occurs, the most frequent first. */
  readonly labels: readonly (readonly [label: string, count: number])[];
  readonly badRows: { readonly count: number; readonly listed: readonly BadRow[] };
  /** Absent when there is no good row. */
  readonly lengths?: LengthSummary;
  readonly samples: readonly { readonly place: RowPlace; readonly format: FormatName; readonly example: Example }[];
}

/** Reads all of the data once. Bad rows are counted and listed. */
export async function inspectData(sources: readonly string[], options: InspectOptions = {}): Promise<DataInspection> {
  const { lengthOf = codePoints, samples: wanted = 3, onProgress, ...reading } = options;
  const data = await readLocatedExamples(sources, { ...reading, onBadRow: "skip" });
  const random = namedRandom(0, "data.inspect");
  const formats = new Map<string, { format: FormatName; rows: number }>();
  const lengths = new Map<number, number>();
  const kinds = new Counter<ExampleKind>();
  const roles = new Counter<string>();
  const labels = new Counter<string>();
  const samples: DataInspection["samples"][number][] = [];
  let rows = 0;
  let begun = 0; // length of a document that goes on in the next piece
  let isInside = false;
  for await (const located of data) {
    const { example, place, format } = located;
    const length = lengthOf(textOf(example)) + begun;
    const goesOn = example.kind === "text" && example.continues === true;
    if (!isInside) {
      // Each row takes the place of one that was drawn before with the chance that leaves all equal (Vitter 1985, algorithm R).
      const seat = samples.length < wanted ? samples.length : random.below(rows + 1);
      if (seat < wanted) samples[seat] = located;
    }
    isInside = goesOn;
    begun = goesOn ? length : 0;
    if (goesOn) {
      onProgress?.(data.progress);
      continue;
    }
    rows++;
    const ofFile = formats.get(place.file) ?? { format, rows: 0 };
    ofFile.rows++;
    formats.set(place.file, ofFile);
    kinds.add(example.kind);
    for (const { role } of turnsOf(example)) roles.add(role);
    for (const label of labelsOf(example)) labels.add(String(label));
    lengths.set(length, (lengths.get(length) ?? 0) + 1);
    if (rows % 1000 === 0) onProgress?.(data.progress);
  }
  const fileOf = ({ place }: { readonly place: RowPlace }) => data.files.findIndex(({ path }) => path === place.file);
  return {
    files: data.files.map((file) => ({
      ...file,
      rows: 0,
      ...formats.get(file.path),
      badRows: data.badRows.byFile.get(file.path) ?? 0,
    })),
    ignored: data.ignored,
    rows,
    kinds: kinds.asObject(),
    roles: roles.asObject(),
    labels: labels.sorted(),
    badRows: { count: data.badRows.count, listed: data.badRows.listed },
    ...(rows === 0 ? {} : { lengths: summaryOf(lengths, rows) }),
    samples: samples.sort((a, b) => fileOf(a) - fileOf(b) || a.place.row - b.place.row),
  };
}

class Counter<K extends string> {
  readonly #counts = new Map<K, number>();

  add(key: K): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  sorted(): (readonly [K, number])[] {
    return [...this.#counts].sort(([, a], [, b]) => b - a);
  }

  asObject(): Record<K, number> {
    return Object.fromEntries(this.sorted()) as Record<K, number>;
  }
}

function turnsOf(example: Example) {
  if (example.kind === "conversation") return example.messages;
  return example.kind === "preference" ? [...example.prompt, ...example.chosen, ...example.rejected] : [];
}

function labelsOf(example: Example): readonly (string | number)[] {
  if (example.kind === "classification") return [example.label];
  return example.kind === "token-labels" ? example.labels : [];
}

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** @param counts how often each length occurs, `rows` times in all */
export function summaryOf(counts: ReadonlyMap<number, number>, rows: number): LengthSummary {
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const lengths = sorted.map(([length]) => length);
  const [minimum, maximum] = [lengths[0] as number, lengths.at(-1) as number];
  const quantile = (share: number): number => {
    let left = Math.ceil(share * rows);
    for (const [length, count] of sorted) {
      left -= count;
      if (left <= 0) return length;
    }
    return maximum;
  };
  const histogram: { from: number; to: number; count: number }[] = [];
  const binOf = (length: number) => (length === 0 ? -1 : Math.floor(Math.log2(length)));
  for (let bin = binOf(minimum); bin <= binOf(maximum); bin++)
    histogram.push({ from: bin < 0 ? 0 : 2 ** bin, to: bin < 0 ? 0 : 2 ** (bin + 1) - 1, count: 0 });
  for (const [length, count] of sorted) {
    const bin = histogram[binOf(length) - binOf(minimum)];
    if (bin) bin.count += count;
  }
  return {
    total: sorted.reduce((sum, [length, count]) => sum + length * count, 0),
    minimum,
    median: quantile(0.5),
    percentile90: quantile(0.9),
    percentile99: quantile(0.99),
    maximum,
    histogram,
  };
}
