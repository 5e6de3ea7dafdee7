import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { trainTokenizer } from "../tokenizer/index.js";
import { bestFitDecreasing } from "./best-fit.js";
import {
  bucketedDocuments,
  encodeDocuments,
  ignoredLabel,
  type PackedOptions,
  packedDocuments,
  startOfData,
  type TokenBatch,
  tokenDocuments,
} from "./index.js";

const tokenizer = await trainTokenizer(Array.from({ length: 500 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join(""), {
  model: "character",
  specialTokens: ["<|endoftext|>"],
});

/** Documents of these lengths whose tokens are all different: they tell where they come from. */
function documentsOf(lengths: readonly number[]) {
  let next = 1;
  return tokenDocuments(
    lengths.map((length) => ({ ids: Int32Array.from({ length }, () => next++) })),
    tokenizer,
    { textBytes: 0 },
  );
}

const lengthsOfDocuments = fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 2, maxLength: 16 });
const options = fc.record({
  context: fc.integer({ min: 1, max: 12 }),
  validationShare: fc.constantFrom(0, 0.2),
  sampling: fc.constantFrom("shuffled", "random", "bestFit"),
}) satisfies fc.Arbitrary<PackedOptions>;

interface Place {
  readonly id: number;
  readonly label: number;
  readonly segment: number;
  readonly position: number;
}

function rowsOf({ ids, labels, segments, positions }: TokenBatch): Place[][] {
  const [rows, context] = ids.shape as [number, number];
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: context }, (__, i) => {
      const at = row * context + i;
      return {
        id: ids.data[at] as number,
        label: labels.data[at] as number,
        segment: segments?.data[at] as number,
        position: positions?.data[at] as number,
      };
    }),
  );
}

/** All rows of an epoch. */
function epochOf(data: ReturnType<typeof packedDocuments>, batchSize: number, epoch = 0): Place[][] {
  const rows: Place[][] = [];
  for (let position = { ...startOfData(5), epoch }; position.epoch === epoch; ) {
    const { batch, next } = data.batch(position, batchSize);
    rows.push(...rowsOf(batch));
    position = JSON.parse(JSON.stringify(next));
  }
  return rows;
}

/** Data with these documents, where there are tokens enough. */
const packing = fc
  .tuple(lengthsOfDocuments, options, fc.integer({ min: 1, max: 5 }))
  .filter(
    ([lengths, { context }]) => lengths.reduce((a, b) => a + b, 0) * 0.6 > context + 2 && lengths.some((length) => length > 1),
  );

describe("documents in rows", () => {
  it("are segments whose positions count from 0, with the next token of the same document as the label", () => {
    fc.assert(
      fc.property(packing, ([lengths, option, batchSize]) => {
        const documents = documentsOf(lengths);
        const documentOf = (id: number) => documents.starts.findLastIndex((start) => start < id); // id 1 is token 0
        const data = packedDocuments(documents, option);
        expect(data.segmented).toBe(true);
        for (const row of [...epochOf(data, batchSize), ...[...data.validation(batchSize)].flatMap(rowsOf)])
          for (const [i, place] of row.entries()) {
            const before = row[i - 1];
            if (place.segment === 0) {
              expect(place).toEqual({ id: 0, label: ignoredLabel, segment: 0, position: 0 });
              continue;
            }
            const continues = before !== undefined && before.segment === place.segment;
            expect(place.position).toBe(continues ? before.position + 1 : 0);
            if (continues) expect([place.id, documentOf(place.id)]).toEqual([before.id + 1, documentOf(before.id)]);
            else expect(place.segment).toBe((before?.segment ?? 0) + 1);
            const isLast = documentOf(place.id + 1) !== documentOf(place.id) || place.id === documents.starts.at(-1);
            expect(place.label).toBe(isLast ? ignoredLabel : place.id + 1);
          }
      }),
    );
  });

  it("are read once an epoch by best fit: each token that has a next, whole where a document fits", () => {
    fc.assert(
      fc.property(packing, fc.integer({ min: 0, max: 3 }), ([lengths, option, batchSize], epoch) => {
        const documents = documentsOf(lengths);
        const data = packedDocuments(documents, { ...option, validationShare: 0, sampling: "bestFit" });
        const rows = epochOf(data, batchSize, epoch);
        const labels = rows.flat().flatMap(({ label }) => (label === ignoredLabel ? [] : [label]));
        const firsts = new Set(Array.from(documents.starts.slice(0, -1), (start) => start + 1));
        const all = Array.from({ length: documents.starts.at(-1) as number }, (_, i) => i + 1).filter((id) => !firsts.has(id));
        expect(labels.sort((a, b) => a - b)).toEqual(all);
        const rowOf = new Map(rows.flatMap((row, i) => row.map(({ label }) => [label, i] as const)));
        lengths.forEach((length, i) => {
          const start = documents.starts[i] as number;
          const predicted = Array.from({ length: length - 1 }, (_, k) => rowOf.get(start + k + 2));
          if (length - 1 <= option.context) expect(new Set(predicted).size).toBeLessThanOrEqual(1);
        });
      }),
    );
  });

  it("count for validation where they can be predicted, in tokens and in bytes without separators", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom("一", "丁", "丂"), minLength: 1, maxLength: 20 }), {
          minLength: 4,
          maxLength: 9,
        }),
        fc.constantFrom(undefined, "<|endoftext|>"),
        (texts, separator) => {
          const documents = encodeDocuments(texts, tokenizer, separator === undefined ? {} : { separator });
          fc.pre((documents.starts.at(-1) as number) > 12);
          const data = packedDocuments(documents, { context: 3, validationShare: 0.5 });
          const labels = [...data.validation(2)]
            .flatMap((batch) => [...batch.labels.data])
            .filter((label) => label !== ignoredLabel);
          expect(data.validationTokenCount).toBe(labels.length);
          expect(data.validationBytes).toBe(3 * labels.filter((label) => label !== documents.separator).length);
          expect(documents.textBytes).toBe(3 * texts.join("").length);
        },
      ),
    );
  });

  it("keep the validation's documents out of training where one begins near enough to the cut", () => {
    const data = packedDocuments(documentsOf([50, 38, 9, 3]), { context: 4, validationShare: 0.1 });
    expect(data.trainTokenCount).toBe(88);
    expect(packedDocuments(documentsOf([50, 50]), { context: 4, validationShare: 0.1 }).trainTokenCount).toBe(90);
  });

  it("have labels only where the loss mask says so", () => {
    const documents = tokenDocuments(
      [{ ids: Int32Array.of(1, 2, 3, 4), lossMask: Uint8Array.of(0, 0, 1, 1) }, { ids: Int32Array.of(5, 6) }],
      tokenizer,
    );
    const data = packedDocuments(documents, { context: 8, validationShare: 0, sampling: "bestFit" });
    const [row] = epochOf(data, 1) as [Place[]];
    expect(row.map(({ label }) => label)).toEqual([-100, 3, 4, 6, -100, -100, -100, -100]);
    expect(row.map(({ id }) => id)).toEqual([1, 2, 3, 5, 0, 0, 0, 0]);
  });

  it("is one document as a text is: without segments", () => {
    const data = packedDocuments(documentsOf([100]), { context: 4 });
    expect(data.segmented).toBe(false);
    expect(data.batch(startOfData(0), 2).batch.segments).toBeUndefined();
  });

  it("refuses loss masks of another length, separators that are no tokens and documents without anything to predict", () => {
    const refused = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });
    expect(() => tokenDocuments([{ ids: Int32Array.of(1, 2), lossMask: Uint8Array.of(1) }], tokenizer)).toThrow(
      refused("ARGUMENT", /loss mask of 1/),
    );
    expect(() => encodeDocuments(["一"], tokenizer, { separator: "<end>" })).toThrow(
      refused("ARGUMENT", /"<end>" is no token.*<\|endoftext\|>/),
    );
    expect(() => packedDocuments(documentsOf([1, 1, 1]), { context: 2, validationShare: 0, sampling: "bestFit" })).toThrow(
      refused("DATA", /nothing to predict/),
    );
  });
});

describe("best fit", () => {
  const pieces = fc
    .integer({ min: 1, max: 70 })
    .chain((capacity) => fc.tuple(fc.constant(capacity), fc.array(fc.integer({ min: 1, max: capacity }), { maxLength: 60 })));

  it("holds each piece once, in rows that are not too full, as many whatever breaks the ties, and near the least possible", () => {
    fc.assert(
      fc.property(pieces, fc.infiniteStream(fc.nat()), ([capacity, list], numbers) => {
        const lengths = Int32Array.from(list);
        const order = Int32Array.from(list, (_, i) => i);
        const { items, rowStarts } = bestFitDecreasing(lengths, capacity, order);
        expect([...items].sort((a, b) => a - b)).toEqual([...order]);
        const rows = rowStarts.length - 1;
        for (let row = 0; row < rows; row++) {
          const used = items
            .subarray(rowStarts[row], rowStarts[row + 1])
            .reduce((sum, item) => sum + (lengths[item] as number), 0);
          expect(used).toBeGreaterThan(0);
          expect(used).toBeLessThanOrEqual(capacity);
        }
        // Johnson et al. 1974: at most 11/9 of the optimum and 4 rows more.
        const least = Math.ceil(lengths.reduce((a, b) => a + b, 0) / capacity);
        const big = list.filter((length) => 2 * length > capacity).length;
        if (list.every((length) => 2 * length > capacity)) expect(rows).toBe(big);
        expect(rows).toBeGreaterThanOrEqual(Math.max(least, big));
        expect(rows).toBeLessThanOrEqual(Math.max(1, 2 * least) + big);
        const keys = Array.from(numbers.take(list.length));
        const other = Int32Array.from([...order].sort((a, b) => (keys[a] as number) - (keys[b] as number)));
        expect(bestFitDecreasing(lengths, capacity, other).rowStarts.length - 1).toBe(rows);
      }),
    );
  });

  it("puts a piece where it leaves least free", () => {
    // 7 and 6 stand alone in rows of 10; 3 fills the first, though the second has room as well.
    const { items, rowStarts } = bestFitDecreasing(Int32Array.of(7, 6, 3, 4), 10, Int32Array.of(0, 1, 2, 3));
    const rows = Array.from({ length: rowStarts.length - 1 }, (_, i) => [...items.subarray(rowStarts[i], rowStarts[i + 1])]);
    expect(rows).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });
});

describe("documents in buckets", () => {
  const sizes = fc.record({
    lengths: fc
      .array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 16 })
      .filter((lengths) => lengths.some((length) => length > 1)),
    buckets: fc
      .uniqueArray(fc.integer({ min: 1, max: 16 }), { minLength: 1, maxLength: 4 })
      .map((all) => all.sort((a, b) => a - b)),
    batchSize: fc.integer({ min: 1, max: 4 }),
    epoch: fc.nat({ max: 3 }),
  });

  it("are read once an epoch, each in the shortest bucket that holds it, with the labels of their own", () => {
    fc.assert(
      fc.property(sizes, ({ lengths, buckets, batchSize, epoch }) => {
        const documents = documentsOf(lengths);
        const data = bucketedDocuments(documents, { buckets, validationShare: 0 });
        const labels: number[] = [];
        let batches = 0;
        for (let position = { seed: 3, epoch, window: 0 }; position.epoch === epoch; batches++) {
          const { batch, next } = data.batch(position, batchSize);
          const [rows, length] = batch.ids.shape as [number, number];
          expect(rows).toBe(batchSize);
          expect(buckets).toContain(length);
          for (const row of rowsOf(batch)) {
            const counted = row.filter(({ label }) => label !== ignoredLabel);
            if (counted.length > 0) expect(buckets.find((bucket) => counted.length <= bucket)).toBe(length);
            for (const { id, label } of counted) expect(label).toBe(id + 1);
            labels.push(...counted.map(({ label }) => label));
          }
          position = JSON.parse(JSON.stringify(next));
        }
        expect(batches).toBe(data.batchesPerEpoch(batchSize));
        const firsts = new Set(Array.from(documents.starts.slice(0, -1), (start) => start + 1));
        const all = Array.from({ length: documents.starts.at(-1) as number }, (_, i) => i + 1).filter((id) => !firsts.has(id));
        expect(labels.sort((a, b) => a - b)).toEqual(all);
      }),
    );
  });

  it("orders each epoch in its own way, and validates what is held out once", () => {
    const data = bucketedDocuments(documentsOf(Array.from({ length: 60 }, (_, i) => 2 + (i % 20))), {
      buckets: [8, 20],
      validationShare: 0.2,
    });
    const first = (epoch: number) => [...data.batch({ seed: 1, epoch, window: 0 }, 4).batch.ids.data];
    expect(first(0)).toEqual(first(0));
    expect(first(0)).not.toEqual(first(1));
    const labels = [...data.validation(4)].flatMap(({ labels: own }) => [...own.data]).filter((label) => label !== ignoredLabel);
    expect(new Set(labels).size).toBe(data.validationTokenCount);
    expect(labels).toHaveLength(data.validationTokenCount);
  });

  it("refuses buckets that do not ascend, and positions beyond the end", () => {
    for (const buckets of [[], [4, 4], [0], [2.5]])
      expect(() => bucketedDocuments(documentsOf([9]), { buckets })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    const data = bucketedDocuments(documentsOf([9, 9]), { buckets: [8], validationShare: 0 });
    expect(() => data.batch({ seed: 0, epoch: 0, window: 2 }, 1)).toThrow(
      expect.objectContaining({ code: "DATA", message: expect.stringMatching(/2 of 1 rows/) }),
    );
  });
});
