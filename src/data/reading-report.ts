/** What was left out of data while it was read, as plain data: it is kept beside what was made of the rest, and told again with it. */

import * as z from "zod";
import { type BadRowReport, describeBadRows } from "./bad-rows.js";
import { describeReports, type FilterReport } from "./filters/filter.js";

export interface ReadingReport {
  /** The files in the order in which they were read. */
  readonly files: readonly string[];
  readonly badRows: BadRowReport;
  /** Of each filter, in their order. */
  readonly filters: readonly FilterReport[];
}

/** Of data that has neither files nor filters. */
export const nothingLeftOut: ReadingReport = { files: [], badRows: { count: 0, listed: [] }, filters: [] };

/** Lines for a person; none where nothing was left out and no filter was asked for. */
export const describeReading = ({ badRows, filters }: ReadingReport): string[] => [
  ...describeBadRows(badRows),
  ...describeReports(filters),
];

/** The report of the same files under the names that they have now. */
export function renamedFiles(report: ReadingReport, files: readonly string[]): ReadingReport {
  const nameNow = (name: string): string => files[report.files.indexOf(name)] ?? name;
  const listed = report.badRows.listed.map((row) => ({ ...row, file: nameNow(row.file) }));
  return { ...report, files, badRows: { ...report.badRows, listed } };
}

export const readingReportText = ({ files, badRows, filters }: ReadingReport): string =>
  JSON.stringify({
    files,
    badRows: { count: badRows.count, listed: badRows.listed },
    filters: filters.map(({ filter, seen, dropped, reasons, samples }) => ({
      ...{ filter, seen, dropped, samples },
      reasons: [...reasons],
    })),
  });

const count = z.int().nonnegative();
const text = z.string();
const reportSchema = z.object({
  files: z.array(text),
  badRows: z.object({
    count,
    listed: z.array(
      z.object({ file: text, row: count, line: count.exactOptional(), field: text.exactOptional(), problem: text }),
    ),
  }),
  filters: z.array(
    z.object({
      filter: text,
      seen: count,
      dropped: count,
      reasons: z.array(z.tuple([text, count])).transform((reasons) => new Map(reasons)),
      samples: z.array(z.object({ reason: text, excerpt: text })),
    }),
  ),
});

/** What `readingReportText` made; `undefined` for anything else. */
export function parseReadingReport(written: string | undefined): ReadingReport | undefined {
  if (written === undefined) return undefined;
  try {
    return reportSchema.safeParse(JSON.parse(written)).data;
  } catch {
    return undefined; // not JSON
  }
}
