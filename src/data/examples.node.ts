/** Examples out of files: of any kind, in any format that is known, one after the other (Node). */

import { stat } from "node:fs/promises";
import { TsumikiError } from "../errors.js";
import { type BadRowPolicy, BadRows, type RowPlace } from "./bad-rows.js";
import type { DataFile } from "./data-file.js";
import type { Example } from "./example.js";
import { findFiles } from "./files.node.js";
import { FieldProblem, isRow, show } from "./formats/field-problem.js";
import { type FormatName, formatNamed, formats, type RowFormat, recognizeFormat, textFieldFormat } from "./formats/formats.js";
import { byteSource, unreadableFile } from "./read/bytes.node.js";
import { readTable } from "./read/csv.node.js";
import { readJson } from "./read/json.js";
import { readJsonl } from "./read/jsonl.js";
import { readParquet } from "./read/parquet.node.js";
import { type RawRow, type RowCursor, startOfFile } from "./read/raw-row.js";
import { readText } from "./read/text.js";
import { badPosition, type Dataset, dataset, mapped, type Placed, type Position } from "./stream/dataset.js";

export interface ReadOptions {
  /** The format of all rows. Default: each file's is recognized by the fields of its first row. */
  readonly format?: FormatName;
  /** Rows are texts, in this field. */
  readonly textField?: string;
  /** Default "stop". */
  readonly onBadRow?: BadRowPolicy;
}

/** An example, where it stands and what it was written as. */
export interface LocatedExample {
  readonly example: Example;
  readonly place: RowPlace;
  readonly format: FormatName;
}

/** What is read from files, and what was left out on the way. */
export interface FileDataset<T> extends Dataset<T> {
  readonly files: readonly DataFile[];
  /** Files that lie in the folders and were not read, since their endings are not known. */
  readonly ignored: readonly string[];
  /** Rows that were left out, as far as the data was read. */
  readonly badRows: BadRows;
  /** How much the latest reading has read, of all there is [bytes, as they are stored]. */
  readonly progress: { readonly read: number; readonly total: number };
}

/**
 * The examples in files, folders and globs (see `findFiles`), in order, read as they are asked for: memory holds a chunk of a file, or a
 * row group of Parquet.
 *
 * @throws TsumikiError DATA where nothing is found; while it is read: for a bad row (with `onBadRow` "stop"), a file that is truncated
 * or no longer there, rows of no known format
 */
export async function readExamples(
  sources: string | readonly string[],
  options: ReadOptions = {},
): Promise<FileDataset<Example>> {
  const located = await readLocatedExamples(sources, options);
  return { ...located, ...mapped(located, ({ example }) => example) };
}

/** As `readExamples`, with the place and format of each example. */
export async function readLocatedExamples(
  sources: string | readonly string[],
  { format, textField, onBadRow }: ReadOptions = {},
): Promise<FileDataset<LocatedExample>> {
  const { files, ignored } = await findFiles(typeof sources === "string" ? [sources] : sources);
  const badRows = new BadRows(onBadRow);
  const progress = { read: 0, total: 0 };
  for (const { path } of files) progress.total += await sizeOf(path);
  const given = textField === undefined ? format && formatNamed(format) : textFieldFormat(textField);
  const stream = dataset<LocatedExample>(async function* (from) {
    const start = from === undefined ? undefined : await checkedPlace(from, files);
    progress.read = 0;
    const onRead = (bytes: number) => {
      progress.read += bytes;
    };
    for (const [i, file] of files.entries()) {
      if (i < (start?.file ?? 0)) continue;
      yield* examplesOf(file, i, i === start?.file ? start : undefined, { given, badRows, onRead });
    }
  });
  return { ...stream, files, ignored, badRows, progress };
}

/** A position: so much of a file has been read. */
interface FilePlace extends RowCursor {
  readonly file: number;
  readonly path: string;
  readonly bytes: number;
  readonly format: FormatName | null;
}

async function* examplesOf(
  file: DataFile,
  index: number,
  start: FilePlace | undefined,
  { given, badRows, onRead }: { given: RowFormat | undefined; badRows: BadRows; onRead: (bytes: number) => void },
): AsyncGenerator<readonly Placed<LocatedExample>[]> {
  const bytes = await sizeOf(file.path);
  const known = given ?? (file.kind === "text" ? formatNamed("text") : undefined);
  let format = known ?? (start?.format ? formatNamed(start.format) : undefined);
  // A piece of a long document waits for the next one: only then is it known that the document goes on.
  let waiting: Placed<LocatedExample> | undefined;
  for await (const rows of rawRows(file, start ?? startOfFile, onRead)) {
    const placed: Placed<LocatedExample>[] = [];
    for (const row of rows) {
      const place: RowPlace = {
        file: file.path,
        row: row.after.row,
        ...(row.line === undefined ? {} : { line: row.line }),
      };
      try {
        const { example, format: found } = exampleOf(row, format);
        format = found;
        const after = { file: index, path: file.path, bytes, format: known ? null : format.name, ...row.after };
        if (waiting) placed.push(waiting);
        waiting = { value: { example, place, format: format.name }, after };
      } catch (problem) {
        if (!(problem instanceof FieldProblem)) throw problem;
        const { field, message } = problem;
        if (waiting) placed.push(ended(waiting));
        waiting = undefined;
        if (badRows.policy === "stop" && placed.length > 0) yield placed.splice(0); // what stands before it was good
        badRows.add({ ...place, problem: message, ...(field === undefined ? {} : { field }) });
      }
      if (waiting && !continues(waiting)) {
        placed.push(waiting);
        waiting = undefined;
      }
    }
    if (placed.length > 0) yield placed;
  }
}

const continues = ({ value: { example } }: Placed<LocatedExample>): boolean =>
  example.kind === "text" && example.continues === true;

/** A piece whose next one was left out: the document ends here. */
function ended({ value, after }: Placed<LocatedExample>): Placed<LocatedExample> {
  const { example } = value;
  return example.kind === "text"
    ? { value: { ...value, example: { kind: "text", text: example.text } }, after }
    : { value, after };
}

function exampleOf(row: RawRow, expected: RowFormat | undefined): { readonly example: Example; readonly format: RowFormat } {
  if (row.problem) throw new FieldProblem(row.problem.field, row.problem.problem);
  const { value } = row;
  if (!isRow(value)) throw new FieldProblem(undefined, `is ${show(value)}, expected an object with fields`);
  const format = expected ?? recognizeFormat(value);
  const fields = Object.keys(value).join(", ") || "none";
  if (!format)
    throw new FieldProblem(
      undefined,
      `has the fields ${fields}, which are those of no known format (${formats.map(({ name, fields: own }) => `${name}: ${own}`).join("; ")}). ` +
        "Name the field that holds the text with textField",
    );
  if (!format.fits(value))
    throw new FieldProblem(undefined, `has the fields ${fields}, but rows of the format ${format.name} have ${format.fields}`);
  const example = format.parse(value);
  return { example: row.continues && example.kind === "text" ? { ...example, continues: true } : example, format };
}

function rawRows(file: DataFile, from: RowCursor, onRead: (bytes: number) => void): AsyncIterable<readonly RawRow[]> {
  switch (file.kind) {
    case "jsonl":
      return readJsonl(byteSource(file, onRead), from);
    case "json":
      return readJson(byteSource(file, onRead), from);
    case "csv":
      return readTable(byteSource(file, onRead), from, { delimiter: "," });
    case "tsv":
      return readTable(byteSource(file, onRead), from, { delimiter: "\t", quotes: false }); // in tab-separated values a quote is a character like any other
    case "text":
      return readText(byteSource(file, onRead), from);
    case "parquet":
      if (file.compression === "none") return readParquet(file.path, from, onRead);
      throw new TsumikiError(
        "DATA",
        `${file.path}: Parquet files are compressed inside; decompress it first (${file.compression}).`,
      );
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw unreadableFile(path, "", cause);
  }
}

async function checkedPlace(from: Position, files: readonly DataFile[]): Promise<FilePlace> {
  const place = from as unknown as FilePlace;
  const numbers = typeof place === "object" && place !== null ? [place.file, place.bytes, place.row, place.line, place.byte] : [];
  if (numbers.length === 0 || !numbers.every((value) => Number.isSafeInteger(value) && value >= 0))
    throw badPosition(from, "files");
  const path = files[place.file]?.path;
  if (path !== place.path)
    throw new TsumikiError(
      "DATA",
      `The data has changed since the position was saved: file ${place.file + 1} was ${place.path}, and now ${path === undefined ? "there is none" : `it is ${path}`}.`,
    );
  const bytes = await sizeOf(path);
  if (bytes !== place.bytes)
    throw new TsumikiError(
      "DATA",
      `${path} has changed since the position was saved: it had ${place.bytes} bytes, and now ${bytes}.`,
    );
  return place;
}
