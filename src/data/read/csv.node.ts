/** Tables as text (RFC 4180): the first record names the fields, every other one is a row. Blank lines are no rows. */

import { CsvError, parse } from "csv-parse";
import { TsumikiError } from "../../errors.js";
import { type ByteSource, longestValueBytes, type RawRow, type RowCursor, startOfFile } from "./raw-row.js";
import { decodeText, textChunks } from "./utf8.js";

interface TableRecord {
  readonly fields: readonly Uint8Array[];
  readonly line: number;
  /** What lies before the next one. */
  readonly linesBeforeNext: number;
  readonly end: number;
}

const rowsPerBatch = 256;

export async function* readTable(source: ByteSource, from: RowCursor, options: TableOptions): AsyncGenerator<readonly RawRow[]> {
  let names: readonly string[] | undefined;
  if (from.byte > 0) {
    for await (const record of records(source, startOfFile, options)) {
      names = headerOf(record, source.name);
      break;
    }
  }
  let { row } = from;
  let rows: RawRow[] = [];
  try {
    for await (const record of records(source, from, options)) {
      if (names === undefined) {
        names = headerOf(record, source.name);
        continue;
      }
      row++;
      rows.push({ ...rowOf(record, names), line: record.line, after: { row, line: record.linesBeforeNext, byte: record.end } });
      if (rows.length < rowsPerBatch) continue;
      yield rows;
      rows = [];
    }
  } catch (cause) {
    if (!(cause instanceof UnreadableRest)) throw cause;
    const { line, byte, message } = cause;
    rows.push({ value: undefined, problem: { problem: message }, line, after: { row: row + 1, line, byte } });
  }
  if (rows.length > 0) yield rows;
}

/** After a quote that does not fit, nobody can tell where the next record begins. */
class UnreadableRest extends Error {
  constructor(
    message: string,
    readonly line: number,
    readonly byte: number,
  ) {
    super(message);
  }
}

interface TableOptions {
  readonly delimiter: string;
  /** Whether a field may stand in quotes. Default true. */
  readonly quotes?: boolean;
}

async function* records(
  source: ByteSource,
  from: RowCursor,
  { delimiter, quotes = true }: TableOptions,
): AsyncGenerator<TableRecord> {
  const lines = lineCounter(from.line);
  const parsed: { readonly fields: readonly Uint8Array[]; readonly bytes: number }[] = [];
  let begin: number | undefined;
  let start = from.byte;
  const parser = parse({
    ...{ delimiter, encoding: null, relax_column_count: true, skip_empty_lines: true },
    record_delimiter: ["\r\n", "\n", "\r"], // each line by itself: files that were edited elsewhere mix them
    ...(quotes ? {} : { quote: null }),
    max_record_size: longestValueBytes,
    // Taken here, not from the stream: where a later record is malformed, a stream forgets those before it.
    on_record(fields, { bytes }) {
      parsed.push({ fields: fields as unknown as Uint8Array[], bytes }); // of bytes, since there is no encoding
      return null;
    },
  });
  parser.on("error", () => {}); // `feed` has it too
  parser.resume();
  const feed = (chunk?: Uint8Array) =>
    new Promise<Error | null | undefined>((done) => {
      if (chunk) parser.write(chunk, done);
      else parser.end(done);
    });
  const take = function* () {
    for (const { fields, bytes } of parsed.splice(0)) {
      const end = (begin ?? 0) + bytes;
      const line = lines.at(start);
      yield { fields, line, linesBeforeNext: lines.before(end), end };
      start = end;
    }
  };

  for await (const { chunk, offset } of textChunks(source, from.byte)) {
    begin ??= offset;
    lines.push(chunk, offset);
    const problem = await feed(chunk);
    yield* take();
    if (problem) throw unreadableRest(problem, lines.at(start), start);
  }
  const problem = await feed();
  yield* take();
  if (problem) throw unreadableRest(problem, lines.at(start), start);
}

function unreadableRest(problem: Error, line: number, byte: number): Error {
  if (!(problem instanceof CsvError)) return problem;
  return new UnreadableRest(
    problem.code === "CSV_MAX_RECORD_SIZE"
      ? `is longer than ${longestValueBytes / 2 ** 20} MiB, perhaps for a quote that is never closed; the rest of the file was not read`
      : "has a quote that does not fit (a quote inside a field is written twice, and the field stands in quotes); the rest of the " +
          "file cannot be told apart and was not read",
    line,
    byte,
  );
}

/** Lines by byte offsets, which must be asked for in ascending order. */
function lineCounter(linesBefore: number) {
  let lines = linesBefore;
  let counted = 0;
  let waiting: { readonly chunk: Uint8Array; readonly offset: number }[] = [];
  const newline = 0x0a;
  const carriageReturn = 0x0d;

  /** How many lines end before `byte`. */
  const before = (byte: number): number => {
    for (const { chunk, offset } of waiting)
      for (let i = Math.max(0, counted - offset); i < Math.min(chunk.length, byte - offset); i++)
        if (chunk[i] === newline) lines++;
    counted = Math.max(counted, byte);
    waiting = waiting.filter(({ chunk, offset }) => offset + chunk.length > byte);
    return lines;
  };
  /** How many blank lines follow. */
  const blankAt = (byte: number): number => {
    let blank = 0;
    for (const { chunk, offset } of waiting)
      for (let i = Math.max(0, byte - offset); i < chunk.length; i++) {
        if (chunk[i] === newline) blank++;
        else if (chunk[i] !== carriageReturn) return blank;
      }
    return blank;
  };
  return {
    push(chunk: Uint8Array, offset: number) {
      waiting.push({ chunk, offset });
    },
    before,
    /** The line, counted from 1, of the record that begins at `byte` or after blank lines there. */
    at: (byte: number): number => before(byte) + blankAt(byte) + 1,
  };
}

function headerOf({ fields }: TableRecord, name: string): readonly string[] {
  const names = fields.map((field) => {
    const decoded = decodeText(field);
    if ("problem" in decoded) throw new TsumikiError("DATA", `${name}: the name of a column ${decoded.problem}.`);
    return decoded.text.trim();
  });
  const twice = names.find((column, i) => names.indexOf(column) !== i);
  if (twice !== undefined)
    throw new TsumikiError(
      "DATA",
      `${name} has two columns called ${JSON.stringify(twice)}; its first line must name each column (${names.join(", ")}).`,
    );
  return names;
}

function rowOf({ fields }: TableRecord, names: readonly string[]): Pick<RawRow, "value" | "problem"> {
  const wrong = (problem: string, field?: string) => ({
    value: undefined,
    problem: { problem, ...(field === undefined ? {} : { field }) },
  });
  if (fields.length !== names.length) return wrong(`has ${fields.length} fields, but the first line names ${names.length}`);
  const row: Record<string, string> = {};
  for (const [i, name] of names.entries()) {
    const decoded = decodeText(fields[i] as Uint8Array);
    if ("problem" in decoded) return wrong(decoded.problem, name);
    row[name] = decoded.text;
  }
  return { value: row };
}
