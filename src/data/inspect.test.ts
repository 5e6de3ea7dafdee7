import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inspectData, summaryOf } from "./inspect.node.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-inspect-"));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const lines = (...rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

const chat = {
  messages: [
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello 🐳" },
  ],
};

describe("inspectData", () => {
  it("counts rows, kinds, roles, labels and lengths of all files, and lists bad rows", async () => {
    await writeFile(at("a.jsonl.gz"), gzipSync(lines(chat, { messages: [] }, chat)));
    await writeFile(at("b.csv"), "text,label\ngood,1\nbad,0\nfine,1\n");
    await writeFile(at("c.bin"), "");
    const inspection = await inspectData([folder]);
    expect(inspection).toMatchObject({
      files: [
        { path: at("a.jsonl.gz"), kind: "jsonl", compression: "gzip", format: "messages", rows: 2, badRows: 1 },
        { path: at("b.csv"), kind: "csv", compression: "none", format: "classification", rows: 3, badRows: 0 },
      ],
      ignored: [at("c.bin")],
      rows: 5,
      kinds: { conversation: 2, classification: 3 },
      roles: { user: 2, assistant: 2 },
      labels: [
        ["1", 2],
        ["0", 1],
      ],
      badRows: { count: 1, listed: [{ line: 2, field: "messages" }] },
      lengths: { total: 2 * 10 + 11, minimum: 3, median: 4, maximum: 10 },
    });
    expect(inspection.samples).toHaveLength(3);
    const words = await inspectData([at("b.csv")], { lengthOf: (text) => text.split(" ").length, samples: 0 });
    expect(words).toMatchObject({ lengths: { total: 3, maximum: 1 }, samples: [] });
  });

  it("counts a long text, which is read in pieces, as one document", async () => {
    const long = "the whale swims\n".repeat(600_000);
    await writeFile(at("a.txt"), long);
    await writeFile(at("b.txt"), "the sea\n");
    const { files, rows, lengths, samples } = await inspectData([at("*.txt")]);
    expect(files.map((file) => file.rows)).toEqual([1, 1]);
    expect(rows).toBe(2);
    expect(lengths).toMatchObject({ total: long.length + 8, minimum: 8, maximum: long.length });
    expect(samples.map(({ place }) => [place.file, place.line])).toEqual([
      [at("a.txt"), 1],
      [at("b.txt"), 1],
    ]);
  });

  it("draws samples from everywhere, the same each time", async () => {
    await writeFile(at("a.jsonl"), lines(...Array.from({ length: 500 }, (_, i) => ({ text: `row ${i}` }))));
    const rows = (await inspectData([at("a.jsonl")], { samples: 50 })).samples.map(({ place }) => place.row);
    expect(new Set(rows).size).toBe(50);
    expect(rows).toEqual([...rows].sort((a, b) => a - b));
    expect(Math.abs(rows.reduce((a, b) => a + b) / 50 - 250)).toBeLessThan(100); // five standard deviations
    expect((await inspectData([at("a.jsonl")], { samples: 50 })).samples.map(({ place }) => place.row)).toEqual(rows);
  });

  it("says so when there is nothing good", async () => {
    await writeFile(at("a.jsonl"), lines({ a: 1 }, { text: "" }));
    const inspection = await inspectData([at("a.jsonl")]);
    expect(inspection).toMatchObject({ rows: 0, badRows: { count: 2 }, samples: [] });
    expect(inspection.lengths).toBeUndefined();
  });
});

describe("lengths", () => {
  it("are summed up as sorting them would", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 200 }), (lengths) => {
        const counts = new Map<number, number>();
        for (const length of lengths) counts.set(length, (counts.get(length) ?? 0) + 1);
        const sorted = [...lengths].sort((a, b) => a - b);
        const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1];
        const summary = summaryOf(counts, lengths.length);
        expect(summary).toMatchObject({
          total: lengths.reduce((a, b) => a + b),
          minimum: sorted[0],
          median: at(0.5),
          percentile90: at(0.9),
          percentile99: at(0.99),
          maximum: sorted.at(-1),
        });
        for (const { from, to, count } of summary.histogram)
          expect(count).toBe(lengths.filter((length) => length >= from && length <= to).length);
        expect(summary.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(lengths.length);
      }),
    );
  });
});
