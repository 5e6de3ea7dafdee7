import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTable } from "./csv.node.js";
import { readJson } from "./json.js";
import { readJsonl } from "./jsonl.js";
import { type ByteSource, type RawRow, type RowCursor, startOfFile } from "./raw-row.js";
import { readText, textPieceBytes } from "./text.js";

const utf8 = new TextEncoder();
const bytesOf = (content: string | Uint8Array) => (typeof content === "string" ? utf8.encode(content) : content);

/** A file in chunks of `size` bytes. */
function source(content: string | Uint8Array, size = 7): ByteSource {
  const bytes = bytesOf(content);
  return {
    name: "file",
    async *bytes(from) {
      for (let i = from; i < bytes.length; i += size) yield bytes.slice(i, Math.min(i + size, bytes.length));
    },
  };
}

type Reader = (source: ByteSource, from: RowCursor) => AsyncIterable<readonly RawRow[]>;
const csv: Reader = (from, cursor) => readTable(from, cursor, { delimiter: "," });

async function all(read: Reader, content: string | Uint8Array, { from = startOfFile, size = 7 } = {}): Promise<RawRow[]> {
  const rows: RawRow[] = [];
  for await (const batch of read(source(content, size), from)) rows.push(...batch);
  return rows;
}

const values = (rows: readonly RawRow[]) => rows.map(({ value }) => value);
const problems = (rows: readonly RawRow[]) =>
  rows.flatMap(({ problem, line }) => (problem ? [`${line}: ${problem.field ?? ""} ${problem.problem}`] : []));

const anyText = fc.string({
  unit: fc.oneof(fc.constantFrom('"', "\\", ",", "\n", "\r\n", "[", "}", " ", "字", "🙂"), fc.string()),
});
const rowsOfText = fc.array(fc.record({ text: anyText, number: fc.integer() }), { maxLength: 8 });
const chunk = fc.integer({ min: 1, max: 40 });

const json = (row: unknown) => JSON.stringify(row);
const csvField = (value: unknown) => `"${String(value).replaceAll('"', '""')}"`;

const written: readonly (readonly [
  string,
  Reader,
  (rows: readonly { text: string; number: number }[], newline: string) => string,
])[] = [
  ["JSON Lines", readJsonl, (rows, newline) => rows.map((row) => json(row) + newline).join("")],
  ["JSON Lines without a last line end", readJsonl, (rows, newline) => rows.map(json).join(newline)],
  [
    "JSON Lines between blank lines",
    readJsonl,
    (rows, newline) => rows.map((row) => `${newline} ${json(row)}${newline}`).join(""),
  ],
  ["a JSON array", readJson, (rows, newline) => `[${newline}${rows.map(json).join(`,${newline}`)}]`],
  ["a pretty JSON array", readJson, (rows) => JSON.stringify(rows, null, 2)],
  ["JSON values in a row", readJson, (rows, newline) => rows.map((row) => JSON.stringify(row, null, 1)).join(newline)],
];

describe.each(written)("%s", (_, read, write) => {
  it("gives the rows that were written, however the file comes, with a byte order mark or without", async () => {
    await fc.assert(
      fc.asyncProperty(rowsOfText, chunk, fc.constantFrom("\n", "\r\n"), fc.boolean(), async (rows, size, newline, mark) => {
        const content = (mark ? "\uFEFF" : "") + write(rows, newline);
        expect(values(await all(read, content, { size }))).toEqual(rows);
      }),
    );
  });

  it("goes on from behind any row with exactly the rest, on the same lines", async () => {
    await fc.assert(
      fc.asyncProperty(rowsOfText, chunk, fc.boolean(), async (rows, size, mark) => {
        const content = (mark ? "\uFEFF" : "") + write(rows, "\n");
        const whole = await all(read, content, { size });
        for (const [i, { after }] of whole.entries()) {
          const from = JSON.parse(JSON.stringify(after)) as RowCursor;
          const rest = await all(read, content, { from, size });
          const strip = (found: readonly RawRow[]) => found.map(({ value, line, after: { row } }) => ({ value, line, row }));
          expect(strip(rest)).toEqual(strip(whole.slice(i + 1)));
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("CSV", () => {
  const table = (rows: readonly { text: string; number: number }[], newline: string) =>
    ["text,number", ...rows.map(({ text, number }) => `${csvField(text)},${number}`)].map((line) => line + newline).join("");

  it("gives the rows that were written, and goes on from behind any of them", async () => {
    await fc.assert(
      fc.asyncProperty(rowsOfText, chunk, fc.constantFrom("\n", "\r\n"), fc.boolean(), async (rows, size, newline, mark) => {
        const content = (mark ? "\uFEFF" : "") + table(rows, newline);
        const whole = await all(csv, content, { size });
        expect(values(whole)).toEqual(rows.map(({ text, number }) => ({ text, number: String(number) })));
        let line = 2;
        for (const [i, { after, line: found }] of whole.entries()) {
          expect(found).toBe(line);
          line += 1 + (rows[i]?.text.split("\n").length ?? 0) - 1;
          const rest = await all(csv, content, { from: after, size });
          expect(rest.map(({ value, line: at }) => [value, at])).toEqual(
            whole.slice(i + 1).map(({ value, line: at }) => [value, at]),
          );
        }
      }),
    );
  });

  it("names rows with too many or too few fields, other encodings, and where a quote hides the rest", async () => {
    const rows = await all(csv, new Uint8Array(Buffer.from('a,b\n1,2\n3\n\n4,5,6\n\xe9,7\n8,9\n"open,1\n2,3\n', "latin1")));
    expect(values(rows).filter((value) => value !== undefined)).toEqual([
      { a: "1", b: "2" },
      { a: "8", b: "9" },
    ]);
    expect(problems(rows)).toEqual([
      "3:  has 1 fields, but the first line names 2",
      "5:  has 3 fields, but the first line names 2",
      expect.stringMatching(/^6: a is not UTF-8: byte 0 of it \(0xE9\)/),
      expect.stringMatching(/^8: {2}has a quote that does not fit.*was not read$/),
    ]);
  });

  it("refuses two columns of one name", async () => {
    await expect(all(csv, "a,a\n1,2\n")).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringContaining('two columns called "a"'),
    });
  });
});

describe("JSON Lines, bad", () => {
  it("names each bad line and reads the others", async () => {
    const content = Buffer.concat([
      Buffer.from('{"a":1}\n{"a":\n\n{"a":2}\n'),
      Buffer.from([0x22, 0xff, 0x22, 0x0a]), // no UTF-8
      Buffer.from('"\0"\n{"a":3}\n{"a": "tr'),
    ]);
    const rows = await all(readJsonl, new Uint8Array(content));
    expect(values(rows).filter((value) => value !== undefined)).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }]);
    expect(problems(rows)).toEqual([
      expect.stringMatching(/^2: {2}is not JSON/),
      expect.stringMatching(/^5: {2}is not UTF-8: byte 1 of it \(0xFF\)/),
      expect.stringMatching(/^6: {2}is not JSON.*control character/i),
      expect.stringMatching(/^8: {2}is not JSON/),
    ]);
  });

  it("refuses UTF-16, and says what to do", async () => {
    for (const mark of [
      [0xff, 0xfe],
      [0xfe, 0xff],
    ])
      await expect(all(readJsonl, Uint8Array.of(...mark, 0x7b, 0, 0x7d, 0))).rejects.toMatchObject({
        code: "DATA",
        message: expect.stringMatching(/UTF-16.*iconv/),
      });
  });

  it("reads a line of 100 MB", { timeout: 60_000 }, async () => {
    const text = "a".repeat(100 * 2 ** 20);
    const rows = await all(readJsonl, `{"text":"${text}"}\n{"text":"b"}\n`, { size: 2 ** 18 });
    expect(rows.map(({ value }) => (value as { text: string }).text.length)).toEqual([text.length, 1]);
  });
});

describe("JSON, bad", () => {
  it("names an element that is no JSON and reads the others", async () => {
    const rows = await all(readJson, '[\n{"a": 1},\n{"a": tru},\n{"a": 2}\n{"a": 3}, 4, "x"\n]\n5');
    expect(values(rows)).toEqual([{ a: 1 }, undefined, { a: 2 }, undefined, 4, "x", undefined]);
    expect(problems(rows)).toEqual([
      expect.stringMatching(/^3: {2}is not JSON/),
      expect.stringMatching(/^5: .*no comma before it/),
      expect.stringMatching(/^7: .*behind the end of the array/),
    ]);
  });

  it.each(['[{"a": 1}, {"b": "', '[{"a": 1}, 2', '[{"a": 1}', '[{"a": 1},', '{"a": 1} {"b"'])(
    "%s ends too early",
    async (content) => {
      const rows = await all(readJson, content);
      expect(rows[0]).toMatchObject({ value: { a: 1 } });
      expect(problems(rows)).toEqual([expect.stringMatching(/file ends|not JSON/)]);
    },
  );
});

describe("plain text", () => {
  it("is one document with its line ends as they are, without the byte order mark", async () => {
    await fc.assert(
      fc.asyncProperty(anyText, chunk, async (text, size) => {
        const rows = await all(readText, `\uFEFF${text}`, { size });
        expect(values(rows)).toEqual([{ text }]);
        expect(rows[0]?.continues).toBeUndefined();
      }),
    );
  });

  it("comes in pieces when it is long, cut where a line begins, and goes on from behind each", async () => {
    const text = "The whale swims, 鲸鱼 too.\n\n  A verse\nA line.\n".repeat(Math.ceil((2.5 * textPieceBytes) / 46));
    const rows = await all(readText, text, { size: 2 ** 18 });
    const texts = values(rows).map((value) => (value as { text: string }).text);
    expect(texts.join("")).toBe(text);
    expect(rows.map(({ continues }) => continues)).toEqual([true, true, undefined]);
    for (const piece of texts.slice(1)) expect(piece).toMatch(/^\S/);
    for (const piece of texts.slice(0, -1)) expect(piece).toMatch(/\n$/);
    const rest = await all(readText, text, { from: rows[0]?.after as RowCursor, size: 2 ** 18 });
    expect(rest).toEqual(rows.slice(1));
  });

  it("is cut between characters when it has no lines", async () => {
    const text = "鲸".repeat(6 * textPieceBytes);
    const rows = await all(readText, text, { size: 2 ** 18 });
    expect(rows.length).toBeGreaterThan(1);
    expect(problems(rows)).toEqual([]);
    expect(
      values(rows)
        .map((value) => (value as { text: string }).text)
        .join(""),
    ).toBe(text);
  });

  it("names the line with other bytes than UTF-8", async () => {
    const rows = await all(readText, new Uint8Array(Buffer.from("one\ntwo\ncaf\xe9\n", "latin1")));
    expect(problems(rows)).toEqual([expect.stringMatching(/^3: {2}is not UTF-8: byte 11 of it \(0xE9\)/)]);
  });
});

describe("tables of mixed origin", () => {
  it("end each line as it ends: mixed line ends leave nothing in the fields and lose no row", async () => {
    expect(values(await all(csv, 'text\r\none\ntwo\r\n"a\r\nb"\rthree'))).toEqual(
      ["one", "two", "a\r\nb", "three"].map((text) => ({ text })),
    );
  });

  it("have quotes that mean nothing between tabs", async () => {
    const tsv: Reader = (from, cursor) => readTable(from, cursor, { delimiter: "\t", quotes: false });
    expect(values(await all(tsv, 'a\tb\n"x\t5" wide\n'))).toEqual([{ a: '"x', b: '5" wide' }]);
  });
});

it("reads the NaN and Infinity of Python's json as null, and leaves them in texts", async () => {
  const content = '{"text": "NaN \\" Infinity", "score": NaN, "other": [-Infinity, 1]}\n{"text": Nan}\n';
  const rows = await all(readJsonl, content);
  expect(rows[0]?.value).toEqual({ text: 'NaN " Infinity', score: null, other: [null, 1] });
  expect(rows[1]?.problem?.problem).toMatch(/is not JSON/);
});
