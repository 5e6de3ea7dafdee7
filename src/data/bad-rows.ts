/** Rows that are not what they should be: none is dropped without being named. */

import { TsumikiError } from "../errors.js";

/** Where a row stands. Rows and lines count from 1. */
export interface RowPlace {
  readonly file: string;
  readonly row: number;
  /** The line on which the row begins, in files that have lines. */
  readonly line?: number;
}

export interface BadRow extends RowPlace {
  /** The field that is wrong, such as `messages[2].role`; absent when it is the row as a whole. */
  readonly field?: string;
  /** What is wrong with it, as in "is empty". */
  readonly problem: string;
}

/** What became of bad rows, as plain data. */
export interface BadRowReport {
  /** How many there were. */
  readonly count: number;
  /** The first hundred of them. */
  readonly listed: readonly BadRow[];
}

/** "stop" (the default) throws at the first bad row; "skip" leaves bad rows out, counts and lists them. */
export type BadRowPolicy = "stop" | "skip";

/** Rows that are listed one by one; more are counted only. */
const listedRows = 100;

/** `chats.jsonl, line 17, field messages[2].role: ...` */
export function describeBadRow({ file, row, line, field, problem }: BadRow): string {
  const place = line === undefined ? `row ${row}` : `line ${line}`;
  return `${file}, ${place}${field === undefined ? ":" : `, field ${field}:`} ${problem}`;
}

/** Lines for a person; none when there was no bad row. */
export function describeBadRows({ count, listed }: BadRowReport): string[] {
  if (count === 0) return [];
  const more = count - listed.length;
  return [
    `${count.toLocaleString("en-US")} bad row${count === 1 ? " was" : "s were"} left out:`,
    ...listed.map((row) => `  ${describeBadRow(row)}`),
    ...(more > 0 ? [`  and ${more.toLocaleString("en-US")} more`] : []),
  ];
}

/** What the first bad row is, where they are not to be skipped. */
export const badRowError = (row: BadRow): TsumikiError =>
  new TsumikiError("DATA", `${describeBadRow(row)}. Mend it, or leave such rows out with --on-bad-row skip (onBadRow).`);

/** The bad rows of one reading, as they are found. */
export class BadRows implements BadRowReport {
  readonly policy: BadRowPolicy;
  readonly #listed: BadRow[] = [];
  readonly #counts = new Map<string, number>();
  /** The last one of each file: data that is read again does not count again. */
  readonly #last = new Map<string, number>();

  constructor(policy: BadRowPolicy = "stop") {
    this.policy = policy;
  }

  /** How many there were. */
  get count(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** The first hundred of them. */
  get listed(): readonly BadRow[] {
    return this.#listed;
  }

  /** How many there were in each file that had any. */
  get byFile(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** @throws TsumikiError DATA that names file, line and field, unless bad rows are to be skipped */
  add(row: BadRow): void {
    if (this.policy === "stop") throw badRowError(row);
    if (row.row <= (this.#last.get(row.file) ?? 0)) return;
    this.#last.set(row.file, row.row);
    this.#counts.set(row.file, (this.#counts.get(row.file) ?? 0) + 1);
    if (this.#listed.length < listedRows) this.#listed.push(row);
  }

  /** Lines for a person; none when there was no bad row. */
  describe(): string[] {
    return describeBadRows(this);
  }
}
