import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Example } from "./example.js";
import { type ReadOptions, readExamples, readLocatedExamples } from "./examples.node.js";
import { inspectData } from "./inspect.node.js";
import type { Position } from "./stream/dataset.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-data-"));
});
afterEach(() => rm(folder, { recursive: true }));

const at = (name: string) => join(folder, name);
const write = (name: string, content: string | Uint8Array) => writeFile(at(name), content);
const golden = (name: string) => fileURLToPath(new URL(`../../reference/golden/data/${name}`, import.meta.url));

/** What reference/data.py writes. */
const chats = Array.from(
  { length: 25 },
  (_, i): Example => ({
    kind: "conversation",
    messages: [
      { role: "user", content: `Was ist ${i} + ${i}? 多少?` },
      { role: "assistant", content: `${2 * i} 🐳` },
    ],
  }),
);

async function all(sources: string | readonly string[], options?: ReadOptions, from?: Position): Promise<Example[]> {
  const examples: Example[] = [];
  for await (const example of (await readExamples(sources, options)).open(from)) examples.push(example);
  return examples;
}
const texts = async (...parameters: Parameters<typeof all>) =>
  (await all(...parameters)).map((one) => (one.kind === "text" ? one.text : one));

const lines = (...rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => ({ text: `${prefix}${i}` }));

describe("files of other programs", () => {
  it.each(["snappy", "zstd", "gzip", "brotli", "none"])("Parquet with %s, nested, in several row groups", async (compression) => {
    expect(await all(golden(`${compression}.parquet`))).toEqual(chats);
  });

  it("zstd in several frames", async () => {
    expect(await all(golden("chats.jsonl.zst"))).toEqual(chats);
  });
});

describe("readExamples", () => {
  it("reads files of all kinds, folders and globs, in the order given and then of their names", async () => {
    await mkdir(at("folder/inner"), { recursive: true });
    await write("folder/b.jsonl", lines({ text: "b" }));
    await write("folder/inner/c.csv", 'text,id\n"c,\nc",1\n');
    await write("folder/a.json", '[{"text":"a"}]');
    await write("folder/picture.png", "no data");
    await write("z1.tsv", "text\tid\nz1\t1\n");
    await write("z0.jsonl.gz", gzipSync(lines({ text: "z0" })));
    await write("plain.txt", "A plain\r\ntext.\n");
    await write("no-ending", "Another.");
    await write("p.parquet", new Uint8Array(parquetWriteBuffer({ columnData: [{ name: "text", data: ["p0", "p1"] }] })));
    const data = await readExamples([at("folder"), at("plain.txt"), at("z*"), at("no-ending"), at("p.parquet")]);
    const found: unknown[] = [];
    for await (const example of data) found.push(example.kind === "text" && example.text);
    expect(found).toEqual(["a", "b", "c,\nc", "A plain\r\ntext.\n", "z0", "z1", "Another.", "p0", "p1"]);
    expect(data.files).toHaveLength(8);
    expect(data.ignored).toEqual([at("folder/picture.png")]);
  });

  it("takes the text from a field of any name", async () => {
    await write("a.jsonl", lines({ title: "t", body: "b" }));
    expect(await texts(at("a.jsonl"), { textField: "body" })).toEqual(["b"]);
    await expect(texts(at("a.jsonl"), { textField: "bodies" })).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/a\.jsonl, line 1: has the fields title, body.*have bodies/),
    });
  });

  it("goes on from behind any example with exactly the rest, whatever the file", async () => {
    const rows = numbered("row ", 40);
    await write("a.jsonl", `\uFEFF${lines(...rows.slice(0, 10))}`);
    await write("b.jsonl.gz", gzipSync(lines(...rows.slice(10, 15), { text: "" }, ...rows.slice(15, 20))));
    await write(
      "c.csv",
      `text\r\n${rows
        .slice(20, 25)
        .map(({ text }) => `"${text}\n"\r\n\r\n`)
        .join("")}`,
    );
    await write("d.json", JSON.stringify(rows.slice(25, 30), null, 2));
    await write(
      "e.parquet",
      new Uint8Array(
        parquetWriteBuffer({ columnData: [{ name: "text", data: rows.slice(30).map(({ text }) => text) }], rowGroupSize: 4 }),
      ),
    );
    const options = { onBadRow: "skip" } as const;
    const whole = await texts(at("*"), options);
    expect(whole).toHaveLength(40);
    const data = await readExamples(at("*"), options);
    const cursor = data.open();
    for (let i = 0; i <= 40; i++) {
      const place = JSON.parse(JSON.stringify(cursor.position())) as Position;
      expect(await texts(at("*"), options, place)).toEqual(whole.slice(i));
      await cursor.next();
    }
  });

  it("keeps the format of a file that is gone on with", async () => {
    const both = { text: "a", label: 1 };
    await write("a.jsonl", lines({ text: "first" }, both, both));
    const cursor = (await readExamples(at("a.jsonl"))).open();
    await cursor.next();
    expect(await all(at("a.jsonl"), {}, cursor.position())).toEqual([
      { kind: "text", text: "a" },
      { kind: "text", text: "a" },
    ]);
  });

  it("refuses a position of other files, or of one that has changed", async () => {
    await write("a.jsonl", lines(...numbered("a", 3)));
    await write("b.jsonl", lines(...numbered("b", 3)));
    const cursor = (await readExamples(at("a.jsonl"))).open();
    await cursor.next();
    const place = cursor.position();
    await expect(all(at("b.jsonl"), {}, place)).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/a\.jsonl.*b\.jsonl/),
    });
    await write("a.jsonl", lines(...numbered("a", 4)));
    await expect(all(at("a.jsonl"), {}, place)).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/has changed/),
    });
    await expect(all(at("a.jsonl"), {}, { epoch: 1 })).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/no position/),
    });
  });
});

describe("bad rows", () => {
  const bad = `${lines({ text: "good" }, { text: "" }, { other: 1 })}{"text": \n${lines({ text: "a\uD83D" }, { text: "fine" })}`;

  it("stop the reading by default, after the rows before: file, line, field and what to do", async () => {
    await write("a.jsonl", bad);
    const cursor = (await readExamples(at("a.jsonl"))).open();
    expect((await cursor.next()).value).toEqual({ kind: "text", text: "good" });
    await expect(cursor.next()).rejects.toMatchObject({
      code: "DATA",
      message: `${at("a.jsonl")}, line 2, field text: is empty. Mend it, or leave such rows out with --on-bad-row skip (onBadRow).`,
    });
  });

  it("are left out, counted and listed with skip, once however often the data is read", async () => {
    await write("a.jsonl", bad);
    const data = await readLocatedExamples(at("a.jsonl"), { onBadRow: "skip" });
    for (let epoch = 0; epoch < 2; epoch++) {
      const places: unknown[] = [];
      for await (const { place } of data) places.push(place.line);
      expect(places).toEqual([1, 6]);
    }
    expect(data.badRows.count).toBe(4);
    expect(data.badRows.listed.map(({ line, field }) => [line, field])).toEqual([
      [2, "text"],
      [3, undefined],
      [4, undefined],
      [5, "text"],
    ]);
    expect(data.badRows.describe()[0]).toBe("4 bad rows were left out:");
    expect(data.badRows.describe()).toHaveLength(5);
  });

  it("are counted beyond the hundred that are listed", async () => {
    await write("a.jsonl", lines(...Array.from({ length: 250 }, () => ({ text: "" }))));
    const data = await readExamples(at("a.jsonl"), { onBadRow: "skip" });
    for await (const _ of data) expect.unreachable();
    expect(data.badRows.count).toBe(250);
    expect(data.badRows.listed).toHaveLength(100);
    expect(data.badRows.describe().at(-1)).toBe("  and 150 more");
  });

  it("that are of no known format are told which there are", async () => {
    await write("a.jsonl", lines({ title: "a", year: 1851 }));
    await expect(all(at("a.jsonl"))).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/line 1: has the fields title, year, which.*alpaca: instruction.*textField/),
    });
  });

  it("that are of another format than the file's are bad", async () => {
    await write("a.jsonl", lines({ text: "a" }, { messages: [] }));
    await expect(all(at("a.jsonl"))).rejects.toMatchObject({
      message: expect.stringMatching(/line 2: has the fields messages, but rows of the format text/),
    });
  });

  it("an empty text file is one", async () => {
    await write("a.txt", "");
    await expect(all(at("a.txt"))).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/a\.txt, line 1, field text: is empty/),
    });
  });
});

describe("unreadable files", () => {
  it.each([
    ["is not there", "absent.jsonl", /no file or folder at .*absent\.jsonl/],
    ["is a glob of nothing", "*.jsonl", /without a file that can be read/],
    ["is a folder of nothing", ".", /is a folder without a file/],
  ])("one that %s", async (_, name, message) => {
    await expect(readExamples(at(name))).rejects.toMatchObject({ code: "DATA", message: expect.stringMatching(message) });
  });

  it("one that is named twice", async () => {
    await write("a.jsonl", lines({ text: "a" }));
    await expect(readExamples([at("a.jsonl"), at("*.jsonl")])).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(/twice/),
    });
  });

  it("compressed ones that are truncated, or something else", async () => {
    await write("a.jsonl.gz", gzipSync(lines(...numbered("some text ", 1000))));
    await truncate(at("a.jsonl.gz"), 500);
    await write("b.jsonl.gz", lines({ text: "b" }));
    const zstd = await readFile(golden("chats.jsonl.zst"));
    await write("c.jsonl.zst", zstd.subarray(0, 400));
    await write("d.jsonl.zst", lines({ text: "d" }));
    await write("e.parquet", (await readFile(golden("zstd.parquet"))).subarray(0, 2000));
    for (const name of ["a.jsonl.gz", "b.jsonl.gz", "c.jsonl.zst", "d.jsonl.zst", "e.parquet"])
      await expect(all(at(name), { onBadRow: "skip" }), name).rejects.toMatchObject({
        code: "DATA",
        message: expect.stringMatching(new RegExp(`${name} cannot be read as (gzip|zstd|Parquet)`)),
      });
  });
});

describe("bad input", () => {
  const said = (...turns: readonly (readonly [string, string])[]) => ({
    messages: turns.map(([role, content]) => ({ role, content })),
  });
  const good = { text: "good" };
  const answered = said(["user", "a"], ["assistant", "b"]);

  /** [what, a line of bytes or a row, what is said of it] */
  it.each<readonly [string, object, Buffer | object, RegExp]>([
    ["another encoding", good, Buffer.from('{"text": "caf\xe9"}', "latin1"), /is not UTF-8: byte 13 of it \(0xE9\)/],
    ["a NUL byte", good, Buffer.from('{"text": "a\0"}'), /is not JSON/],
    ["a NUL character", good, { text: "a\0" }, /field text: has a NUL character at place 1/],
    [
      "half of a surrogate pair",
      good,
      Buffer.from('{"text": "a\\ud83d"}'),
      /field text: has half of a surrogate pair at place 1/,
    ],
    ["an empty document", good, { text: "" }, /field text: is empty/],
    ["a blank document", good, { text: " \n" }, /field text: is blank/],
    ["a line that is cut off", good, Buffer.from('{"text": "a'), /is not JSON/],
    ["fields of another format", good, answered, /has the fields messages, but rows of the format text have text/],
    [
      "an assistant that begins",
      answered,
      said(["assistant", "b"], ["user", "a"]),
      /field messages\[0\]: .*starts with the assistant/,
    ],
    ["no assistant", answered, said(["user", "a"]), /field messages: there is no assistant/],
    ["an unknown role", answered, said(["user", "a"], ["narrator", "b"]), /field messages\[1\]\.role: is "narrator"/],
    ["no turns", answered, said(), /field messages: is an empty list/],
  ])("%s stops the reading at its line, or is left out and counted, everywhere alike", async (_, fine, bad, problem) => {
    const line = Buffer.isBuffer(bad) ? bad : Buffer.from(JSON.stringify(bad));
    const ends = Buffer.from("\r\n");
    const first = Buffer.from(`\uFEFF${JSON.stringify(fine)}`);
    await writeFile(at("bad.jsonl"), Buffer.concat([first, ends, line, ends, ends, Buffer.from(JSON.stringify(fine))]));
    await expect(all(at("bad.jsonl"))).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringMatching(new RegExp(`bad\\.jsonl, line 2[,:] .*${problem.source}`, "s")),
    });
    const skipping = await readExamples(at("bad.jsonl"), { onBadRow: "skip" });
    let kept = 0;
    for await (const _example of skipping) kept++;
    expect(kept).toBe(2);
    expect(skipping.badRows.listed).toMatchObject([{ file: at("bad.jsonl"), row: 2, line: 2 }]);
    const { rows, badRows, files } = await inspectData([at("bad.jsonl")]);
    expect([rows, badRows.count, files[0]?.badRows]).toEqual([2, 1, 1]);
    expect(badRows.listed).toEqual(skipping.badRows.listed);
  });
});
