import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Tokenizer, trainTokenizer } from "../tokenizer/index.js";
import {
  type DataPosition,
  type DataSource,
  ignoredLabel,
  type PackedOptions,
  packed,
  startOfData,
  type TokenBatch,
} from "./index.js";

let tokenizer: Tokenizer;
/** A text whose tokens tell their place apart: token i of it is i. */
const textOf = (length: number) => Array.from({ length }, (_, i) => String.fromCodePoint(0x4e00 + i)).join("");
beforeAll(async () => {
  tokenizer = await trainTokenizer(textOf(4000), { model: "character" });
});

/** Batches until an epoch is over, or `count` of them. */
function read(source: DataSource, position: DataPosition, batchSize: number, count = Number.POSITIVE_INFINITY) {
  const { epoch } = position;
  const batches: TokenBatch[] = [];
  let place = position;
  while (batches.length < count && (place.epoch === epoch || count !== Number.POSITIVE_INFINITY)) {
    const { batch, next } = source.batch(place, batchSize);
    batches.push(batch);
    place = JSON.parse(JSON.stringify(next)); // as a checkpoint keeps it
  }
  return { batches, next: place };
}

function rows({ ids, labels }: TokenBatch): { ids: number[]; labels: number[] }[] {
  const [batch, seq] = ids.shape as [number, number];
  expect(labels.shape).toEqual([batch, seq]);
  return Array.from({ length: batch }, (_, row) => ({
    ids: [...ids.data.subarray(row * seq, (row + 1) * seq)],
    labels: [...labels.data.subarray(row * seq, (row + 1) * seq)],
  }));
}

const isPadding = (row: { ids: number[]; labels: number[] }) => row.labels.every((label) => label === ignoredLabel);
const realRows = (batches: readonly TokenBatch[]) => batches.flatMap(rows).filter((row) => !isPadding(row));

/** Sizes for which a text of `length` tokens is long enough. */
const sizes = fc
  .record({
    length: fc.integer({ min: 12, max: 400 }),
    context: fc.integer({ min: 1, max: 9 }),
    batchSize: fc.integer({ min: 1, max: 7 }),
    seed: fc.nat(),
  })
  .map((size) => ({ ...size, options: { context: size.context, validationShare: 0.25 } satisfies PackedOptions }))
  .filter(({ length, context }) => Math.floor(length * 0.75) > context);

describe.each(["shuffled", "random"] as const)("packed, %s windows", (sampling) => {
  const source = (length: number, options: PackedOptions) => packed(textOf(length), tokenizer, { ...options, sampling });

  it("labels each token of a window with the one that follows it, in training tokens alone", () => {
    fc.assert(
      fc.property(sizes, ({ length, options, batchSize, seed }) => {
        const data = source(length, options);
        for (const row of realRows(read(data, startOfData(seed), batchSize, 8).batches)) {
          const [first] = row.ids as [number];
          expect(row.ids).toEqual(row.ids.map((_, i) => first + i));
          expect(row.labels).toEqual(row.ids.map((id) => id + 1));
          expect(first + options.context).toBeLessThan(data.trainTokens.length);
        }
      }),
    );
  });

  it("always gives whole batches, and goes on from a saved position as if it had never stopped", () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 9 }), ({ length, options, batchSize, context, seed }, stopAfter) => {
        const whole = read(source(length, options), startOfData(seed), batchSize, 10);
        for (const { ids } of whole.batches) expect(ids.shape).toEqual([batchSize, context]);
        const stopped = read(source(length, options), startOfData(seed), batchSize, stopAfter);
        const resumed = read(source(length, options), stopped.next, batchSize, 10 - stopAfter);
        expect([...stopped.batches, ...resumed.batches]).toEqual(whole.batches);
        expect(resumed.next).toEqual(whole.next);
      }),
    );
  });

  it("reads the same windows in the same order whatever the batch size", () => {
    fc.assert(
      fc.property(sizes, ({ length, options, batchSize, seed }) => {
        const data = source(length, options);
        const one = realRows(read(data, startOfData(seed), 1, 20).batches);
        const several = realRows(read(data, startOfData(seed), batchSize, 20).batches);
        expect(several.slice(0, 20)).toEqual(one);
      }),
    );
  });

  it("depends on the seed", () => {
    const data = source(1000, { context: 4 });
    const start = (seed: number) => realRows(read(data, startOfData(seed), 8, 1).batches);
    expect(start(1)).not.toEqual(start(2));
    expect(start(1)).toEqual(start(1));
  });
});

describe("packed, shuffled windows", () => {
  it("reads an epoch's windows once each, without overlap, in batchesPerEpoch batches of which the last is filled up", () => {
    fc.assert(
      fc.property(sizes, ({ length, options, batchSize, context, seed }) => {
        const data = packed(textOf(length), tokenizer, options);
        const { batches, next } = read(data, startOfData(seed), batchSize);
        expect(next).toEqual({ seed, epoch: 1, window: 0 });
        expect(batches).toHaveLength(data.batchesPerEpoch(batchSize));
        const inputs = realRows(batches).flatMap((row) => row.ids);
        expect(new Set(inputs).size).toBe(inputs.length);
        // At most one window more would have fitted.
        expect(inputs.length + 2 * context).toBeGreaterThanOrEqual(data.trainTokens.length - 1);
        expect(batches.slice(0, -1).flatMap(rows).some(isPadding)).toBe(false);
      }),
    );
  });

  it("reads another order from another offset in each epoch, and every token sooner or later", () => {
    const data = packed(textOf(100), tokenizer, { context: 8, validationShare: 0 });
    const offsets = new Set<number>();
    const read100 = Array.from({ length: 100 }, (_, epoch) => realRows(read(data, { seed: 3, epoch, window: 0 }, 4).batches));
    for (const epoch of read100) offsets.add((epoch[0]?.ids[0] as number) % 8);
    expect(offsets.size).toBe(8);
    expect(new Set(read100.map((epoch) => epoch.map((row) => row.ids[0]).join())).size).toBeGreaterThan(95);
    expect(new Set(read100.flat().flatMap((row) => row.ids)).size).toBe(99); // all but the last, which is only a label
  });

  it("pads with rows that do not count", () => {
    const data = packed(textOf(30), tokenizer, { context: 4, validationShare: 0 });
    expect(data.batchesPerEpoch(4)).toBe(2); // six windows
    const last = rows(read(data, startOfData(0), 4).batches[1] as TokenBatch);
    expect(last.map(isPadding)).toEqual([false, false, true, true]);
    expect(last[3]).toEqual({ ids: [0, 0, 0, 0], labels: [-100, -100, -100, -100] });
  });
});

describe("packed, random windows", () => {
  it("starts windows anywhere, the first and the last place included, and never pads", () => {
    const data = packed(textOf(20), tokenizer, { context: 5, validationShare: 0, sampling: "random" });
    const { batches } = read(data, startOfData(7), 16, 50);
    expect(batches.flatMap(rows).some(isPadding)).toBe(false);
    const counts = new Map<number, number>();
    for (const { ids } of realRows(batches)) counts.set(ids[0] as number, (counts.get(ids[0] as number) ?? 0) + 1);
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, i) => i));
    for (const count of counts.values()) expect(Math.abs(count - 800 / 15)).toBeLessThan(35); // five standard deviations
  });
});

describe("validation", () => {
  it("asks for every token after the first once, in order, in whole batches", () => {
    fc.assert(
      fc.property(sizes, ({ length, options, batchSize, context }) => {
        const data = packed(textOf(length), tokenizer, options);
        const batches = [...data.validation(batchSize)];
        for (const { ids } of batches) expect(ids.shape).toEqual([batchSize, context]);
        const places = batches.flatMap(({ ids, labels }) => [...labels.data].map((label, i) => ({ id: ids.data[i], label })));
        const counted = places.filter(({ label }) => label !== ignoredLabel);
        expect(counted.map(({ label }) => label)).toEqual([...data.validationTokens.subarray(1)]);
        expect(counted.map(({ id }) => id)).toEqual([...data.validationTokens.subarray(0, -1)]);
        expect(data.validationTokenCount).toBe(counted.length);
        expect(data.validationBytes).toBe(3 * counted.length); // each character of the text has three bytes
      }),
    );
  });

  it("is the last part of the text", () => {
    const data = packed(textOf(200), tokenizer, { context: 8 });
    expect([...data.trainTokens, ...data.validationTokens]).toEqual([...Array(200).keys()]);
    expect(data.validationTokens).toHaveLength(20);
    expect(data.vocabSize).toBe(4000);
    expect(data.bytesPerToken).toBe(3);
  });

  it("is empty when nothing is kept for it", () => {
    const data = packed(textOf(200), tokenizer, { context: 8, validationShare: 0 });
    expect([...data.validation(4)]).toEqual([]);
    expect([data.validationTokenCount, data.validationBytes]).toEqual([0, 0]);
  });
});

describe("packed refuses", () => {
  it("a context longer than the data, with both numbers", () => {
    expect(() => packed(textOf(50), tokenizer, { context: 64 })).toThrow(
      expect.objectContaining({ code: "DATA", message: expect.stringMatching(/context is 64.* 45 of the text's 50/) }),
    );
    expect(() => packed(textOf(50), tokenizer, { context: 45 })).toThrow(expect.objectContaining({ code: "DATA" }));
    expect(packed(textOf(50), tokenizer, { context: 44 }).batchesPerEpoch(1)).toBe(1);
  });

  it("an empty text, a share that leaves nothing, and sizes out of their domain", () => {
    expect(() => packed("", tokenizer, { context: 4 })).toThrow(expect.objectContaining({ code: "DATA" }));
    expect(() => packed(textOf(9), tokenizer, { context: 4 })).toThrow(
      expect.objectContaining({ code: "DATA", message: expect.stringContaining("at least 2") }),
    );
    for (const options of [
      { context: 0 },
      { context: 2.5 },
      { context: 4, validationShare: 1 },
      { context: 4, validationShare: -0.1 },
    ])
      expect(() => packed(textOf(100), tokenizer, options)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    expect(() => packed(textOf(100), tokenizer, { context: 4 }).batch(startOfData(1), 0)).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });

  it("a position of other data", () => {
    const data = packed(textOf(100), tokenizer, { context: 4 });
    expect(() => data.batch({ seed: 1, epoch: 0, window: 21 }, 4)).toThrow(
      expect.objectContaining({ code: "DATA", message: expect.stringContaining("21 windows") }),
    );
    expect(() => data.batch({ seed: 1, epoch: -1, window: 0 }, 4)).toThrow(expect.objectContaining({ code: "DATA" }));
  });
});
