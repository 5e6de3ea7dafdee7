/** Offsets, pairs, truncation and padding, against Rust's tokenizers. */

import fc from "fast-check";
import { Tokenizer as RustTokenizer } from "tokenizers";
import { beforeAll, describe, expect, it } from "vitest";
import { type Tokenizer, trainTokenizer } from "./index.js";

const text = "The cat sat on the mats; cats' matting was 12 red, wasn't it? 猫は mat の上 ".repeat(4);
const inputs = fc.string({
  unit: fc.constantFrom("the ", "cat", " mats", " ", "12", "\n", "猫", "é", "[SEP]", "🐋"),
  maxLength: 12,
});

let bert: Tokenizer;
let rust: RustTokenizer;
beforeAll(async () => {
  bert = await trainTokenizer(text, { model: "wordpiece", vocabSize: 70 });
  rust = RustTokenizer.fromString(JSON.stringify(bert));
});

describe("tokenize", () => {
  // The binding's enumerations are constants of its declarations alone; these are the words that it takes.
  type RustTruncation = Exclude<Parameters<RustTokenizer["setTruncation"]>[1], null | undefined>;
  type RustPadding = Exclude<Parameters<RustTokenizer["setPadding"]>[0], null | undefined>;
  const strategies = { longest: "LongestFirst", first: "OnlyFirst", second: "OnlySecond" } as const;

  it.each(["longest", "first", "second"] as const)("truncates and pads as Rust does (%s)", async (of) => {
    await fc.assert(
      fc.asyncProperty(
        inputs,
        inputs,
        fc.integer({ min: 4, max: 14 }),
        fc.boolean(),
        fc.boolean(),
        async (a, b, maxLength, left, long) => {
          const direction = left ? "left" : "right";
          const length = long ? maxLength + 3 : "longest";
          const lengthOf = (one: string) => bert.encode(one).length;
          // Otherwise the text that is to be cut is too short, which is an error on both sides.
          const excess = lengthOf(a) + lengthOf(b) + 3 - maxLength;
          // Rust stops encoding a text when it has enough, and then no longer knows which of two long ones is longer.
          fc.pre(of !== "longest" || Math.max(lengthOf(a), lengthOf(b)) <= maxLength - 3);
          fc.pre(of === "longest" || lengthOf(of === "first" ? a : b) > excess);
          rust.setTruncation(maxLength, {
            strategy: strategies[of],
            direction,
          } as unknown as RustTruncation);
          const padding = { direction, padToken: "[PAD]", padId: 0, ...(long ? { maxLength: maxLength + 3 } : {}) };
          rust.setPadding(padding as unknown as RustPadding);
          const expected = await rust.encode(a, b);
          const found = bert.tokenize([a, b], { truncation: { maxLength, direction, of }, padding: { direction, length } });
          expect([...found.ids]).toEqual(expected.getIds());
          expect([...found.typeIds]).toEqual(expected.getTypeIds());
          expect([...found.attentionMask]).toEqual(expected.getAttentionMask());
          expect([...found.specialTokensMask]).toEqual(expected.getSpecialTokensMask());
          expect(found.tokens).toEqual(expected.getTokens());
        },
      ),
    );
  });

  it("gives the rest of a long text in windows that overlap", () => {
    fc.assert(
      fc.property(
        inputs,
        fc.integer({ min: 4, max: 8 }),
        fc.integer({ min: 0, max: 1 }),
        fc.boolean(),
        (a, maxLength, stride, left) => {
          const all = [...bert.encode(a)];
          const direction = left ? "left" : "right";
          const kept = bert.tokenize(a, { truncation: { maxLength, stride, direction } });
          const windows = [kept, ...kept.overflowing].map(({ ids }) => [...ids.slice(1, -1)]); // without [CLS] and [SEP]
          for (const window of windows) expect(window.length).toBeLessThanOrEqual(maxLength - 2);
          const inOrder = left ? windows.reverse() : windows;
          // Each window but the first begins with what the one before ends with.
          const joined = inOrder.flatMap((window, i) => window.slice(i === 0 ? 0 : stride));
          if (!left || inOrder.length === 1) expect(joined).toEqual(all);
          else expect(inOrder.at(-1)).toEqual(all.slice(-(maxLength - 2)));
        },
      ),
    );
  });

  it("pads a batch to the longest, or to a multiple", () => {
    const batch = bert.tokenizeBatch(["cat", "the cat sat on the mat"], { padding: { multipleOf: 8 } });
    expect(batch.map(({ ids }) => ids.length % 8)).toEqual([0, 0]);
    expect(batch[0]?.ids.length).toBe(batch[1]?.ids.length);
    expect(batch[0]?.tokens.at(-1)).toBe("[PAD]");
    expect(bert.encodeBatch(["cat", ""]).map((ids) => ids.length)).toEqual([bert.encode("cat").length, 0]);
    expect(bert.decodeBatch(bert.encodeBatch(["cat", "mats"]))).toEqual(["cat", "mats"]);
  });

  it("says what is wrong", async () => {
    const bytes = await trainTokenizer("abc", { model: "bpe", vocabSize: 256 });
    expect(() => bytes.tokenize("a", { padding: {} })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    expect(() => bert.tokenize("cat", { truncation: { maxLength: 1 } })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    expect(() => bert.tokenize(["cat sat on", "mat"], { truncation: { maxLength: 5, of: "second" } })).toThrow(
      expect.objectContaining({ code: "ARGUMENT", message: expect.stringContaining("second text") }),
    );
    expect(() => bert.encodeSampled("cat", { alpha: 1, seed: 0 })).toThrow(expect.objectContaining({ code: "TOKENIZER" }));
  });
});

describe("byte-level tokenizers", () => {
  it("decode any bytes, and count them", async () => {
    const tokenizer = await trainTokenizer(text, { model: "bpe", vocabSize: 280 });
    const byteOf = new Map(Array.from({ length: 256 }, (_, id) => [bytesOf(tokenizer, id), id]));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const ids = Array.from(bytes, (byte) => byteOf.get(byte) as number);
        expect(tokenizer.decode(ids)).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
        expect(tokenizer.byteLength(ids)).toBe(bytes.length);
        const stream = tokenizer.decodeStream();
        expect([...ids.map((id) => stream.push(id)), stream.end()].join("")).toBe(tokenizer.decode(ids));
        // Encoded again, valid UTF-8 is made of the same bytes.
        const decoded = tokenizer.decode(ids);
        if (!decoded.includes("\uFFFD")) expect(tokenizer.decode(tokenizer.encode(decoded))).toBe(decoded);
      }),
    );
  });
});

/** The byte of one of the first 256 tokens, from GPT-2's alphabet as it is defined: printable ones are themselves. */
function bytesOf(tokenizer: Tokenizer, id: number): number {
  const code = (tokenizer.idToToken(id) as string).charCodeAt(0);
  const others = [...Array(33).keys(), ...Array.from({ length: 34 }, (_, i) => 0x7f + i), 0xad];
  return code < 0x100 ? code : (others[code - 0x100] as number);
}
