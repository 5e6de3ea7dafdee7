import { describe, expect, it } from "vitest";
import { trainTokenizer } from "../tokenizer/index.js";
import { batches, packed, startOfData } from "./index.js";

const text = "the whale swims; the ship sails. ".repeat(20);

describe("batches", () => {
  it("are what a training loop reads, in its order and across epochs", async () => {
    const data = packed(text, await trainTokenizer(text, { model: "character" }), { context: 16 });
    const read = [...batches(data, { batchSize: 4, seed: 7, count: 2 * data.batchesPerEpoch(4) })];
    let position = startOfData(7);
    for (const batch of read) {
      const expected = data.batch(position, 4);
      expect(batch).toEqual(expected.batch);
      position = expected.next;
    }
    expect(position.epoch).toBe(2);
    const [continued] = batches(data, { batchSize: 4, from: position });
    expect(continued).toEqual(data.batch(position, 4).batch);
  });

  it("refuses a count that is none", () => {
    expect(() => [...batches({ batch: () => expect.unreachable() }, { batchSize: 1, count: -1 })]).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });
});
