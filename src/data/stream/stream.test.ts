import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Dataset, datasetOf, mapped, type Position, repeated, taken } from "./dataset.js";
import { interleaved } from "./interleaved.js";
import { shuffled } from "./shuffled.js";

const numbers = (count: number, from = 0) => datasetOf(Array.from({ length: count }, (_, i) => from + i));

async function all<T>(dataset: Dataset<T>, from?: Position): Promise<T[]> {
  const values: T[] = [];
  for await (const value of dataset.open(from)) values.push(value);
  return values;
}

/** From behind each value a dataset gives exactly the rest, when its position has been through JSON. */
async function resumesAnywhere(make: () => Dataset<unknown>): Promise<void> {
  const whole = await all(make());
  const cursor = make().open();
  for (let i = 0; i <= whole.length; i++) {
    const position = JSON.parse(JSON.stringify(cursor.position())) as Position;
    expect(await all(make(), position)).toEqual(whole.slice(i));
    await cursor.next();
  }
}

const count = fc.integer({ min: 0, max: 25 });
const shuffleOptions = fc.record({ bufferSize: fc.integer({ min: 1, max: 9 }), seed: fc.nat(), epoch: fc.nat({ max: 3 }) });

describe("shuffled", () => {
  it("gives each value once, and goes on anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(count, shuffleOptions, async (length, options) => {
        const make = () => shuffled(numbers(length), options);
        expect((await all(make())).sort((a, b) => a - b)).toEqual(await all(numbers(length)));
        await resumesAnywhere(make);
      }),
      { numRuns: 50 },
    );
  });

  it("moves no value further than its buffer, and orders each epoch and seed in its own way", async () => {
    const order = (seed: number, epoch: number) => all(shuffled(numbers(200), { bufferSize: 32, seed, epoch }));
    const orders = [await order(1, 0), await order(1, 1), await order(2, 0)];
    expect(new Set(orders.map(String)).size).toBe(3);
    expect(await order(1, 0)).toEqual(orders[0]);
    for (const values of orders) for (const [i, value] of values.entries()) expect(Math.abs(i - value)).toBeLessThan(32);
  });

  it("has no more values in memory than its buffer holds", async () => {
    let read = 0;
    const source = mapped(numbers(1000), (value) => {
      read++;
      return value;
    });
    const cursor = shuffled(source, { bufferSize: 10, seed: 0 }).open();
    for (let given = 1; given <= 100; given++) {
      await cursor.next();
      expect(read - given).toBeLessThan(10);
    }
  });

  it("reaches every order of a block", async () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 200; seed++) orders.add(String(await all(shuffled(numbers(3), { bufferSize: 100, seed }))));
    expect(orders.size).toBe(6);
  });

  it("refuses a buffer of nothing", () => {
    expect(() => shuffled(numbers(3), { bufferSize: 0, seed: 0 })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});

describe("interleaved", () => {
  it("gives each value once, in the order of its source, and goes on anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(count, fc.integer({ min: 1, max: 5 })), { minLength: 1, maxLength: 4 }),
        fc.nat(),
        fc.constantFrom("all-exhausted", "first-exhausted"),
        async (sources, seed, until) => {
          const make = () =>
            interleaved(
              sources.map(([length, weight], i) => ({ dataset: numbers(length, 100 * i), weight })),
              { seed, until },
            );
          const values = await all(make());
          sources.forEach(([length], i) => {
            const own = values.filter((value) => Math.floor(value / 100) === i);
            expect(own).toEqual(Array.from({ length: own.length }, (_, k) => 100 * i + k));
            if (until === "all-exhausted") expect(own).toHaveLength(length);
          });
          if (until === "first-exhausted")
            expect(sources.some(([length], i) => values.filter((value) => Math.floor(value / 100) === i).length === length)).toBe(
              true,
            );
          await resumesAnywhere(make);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("keeps the proportions", async () => {
    const sources = [
      { dataset: numbers(10_000), weight: 3 },
      { dataset: numbers(10_000, 10_000), weight: 1 },
    ];
    const values = await all(taken(interleaved(sources, { seed: 4 }), 4000));
    expect(Math.abs(values.filter((value) => value < 10_000).length - 3000)).toBeLessThan(140); // five standard deviations
  });

  it("refuses weights that are none", () => {
    expect(() => interleaved([], { seed: 0 })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    expect(() => interleaved([{ dataset: numbers(1), weight: 0 }], { seed: 0 })).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });
});

describe("repeated, taken, mapped", () => {
  it("go on anywhere, together", async () => {
    await fc.assert(
      fc.asyncProperty(count, fc.integer({ min: 1, max: 4 }), fc.nat({ max: 60 }), async (length, epochs, most) => {
        const make = () =>
          taken(
            repeated(
              (epoch) =>
                shuffled(
                  mapped(numbers(length), (value) => ({ value, epoch })),
                  { bufferSize: 4, seed: 1, epoch },
                ),
              epochs,
            ),
            most,
          );
        expect(await all(make())).toHaveLength(Math.min(most, epochs * length));
        await resumesAnywhere(make);
      }),
      { numRuns: 30 },
    );
  });

  it("end when there is nothing to repeat", async () => {
    expect(await all(repeated(() => numbers(0)))).toEqual([]);
  });
});

describe("a position", () => {
  it("of other data is refused", async () => {
    for (const position of [7, { epoch: 0 }, "text", [1]] as const) {
      await expect(all(shuffled(numbers(3), { bufferSize: 2, seed: 0 }), position)).rejects.toMatchObject({
        code: "DATA",
        message: expect.stringMatching(/no position/),
      });
      await expect(all(numbers(3), position)).rejects.toMatchObject({ code: "DATA" });
    }
  });

  it("closes what it read from when the reader leaves", async () => {
    let closed = 0;
    const source: Dataset<number> = {
      open(from) {
        const cursor = numbers(10).open(from);
        return {
          ...cursor,
          return() {
            closed++;
            return cursor.return();
          },
        };
      },
      [Symbol.asyncIterator]: () => source.open(),
    };
    for await (const _ of shuffled(
      mapped(source, (value) => value),
      { bufferSize: 2, seed: 0 },
    ))
      break;
    expect(closed).toBe(1);
  });
});
