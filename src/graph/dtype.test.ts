import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  allocate,
  bytesPerElement,
  checkArray,
  checkNumber,
  type DType,
  decode,
  dtypes,
  encode,
  fromBfloat16Bits,
  fromFloat16Bits,
  isDType,
  isFloat,
  isInteger,
  onnxDType,
  roundTo,
  toBfloat16Bits,
  toFloat16Bits,
  view,
} from "./dtype.js";
import { fromNumbers } from "./host-array.js";

const everyPattern = Array.from({ length: 2 ** 16 }, (_, bits) => bits);

/** A 16-bit float format, described so that rounding can be checked against its definition. */
interface Format {
  readonly toBits: (value: number) => number;
  readonly fromBits: (bits: number) => number;
  /** Bits of the largest finite number. */
  readonly largest: number;
}

const float16: Format = { toBits: toFloat16Bits, fromBits: fromFloat16Bits, largest: 0x7bff };
const bfloat16: Format = { toBits: toBfloat16Bits, fromBits: fromBfloat16Bits, largest: 0x7f7f };

describe.each([
  ["float16", float16],
  ["bfloat16", bfloat16],
] as const)("%s", (_, { toBits, fromBits, largest }) => {
  it("keeps each of its own numbers", () => {
    const changed = everyPattern.filter((bits) => {
      const value = fromBits(bits);
      return Number.isNaN(value) ? !Number.isNaN(fromBits(toBits(value))) : toBits(value) !== bits;
    });
    expect(changed).toEqual([]);
  });

  it("grows with its bits", () => {
    for (let bits = 0; bits < largest; bits++) if (!(fromBits(bits) < fromBits(bits + 1))) expect.fail(`at ${bits}`);
    expect(fromBits(largest + 1)).toBe(Number.POSITIVE_INFINITY);
  });

  it("rounds to the nearer neighbour, and to the even one from the middle", () => {
    fc.assert(
      fc.property(fc.nat(largest - 1), fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), (bits, part, negative) => {
        const [low, high] = [fromBits(bits), fromBits(bits + 1)];
        const value = low + (high - low) * part;
        const middle = (low + high) / 2;
        const nearest = value < middle || (value === middle && bits % 2 === 0) ? bits : bits + 1;
        expect(toBits(negative ? -value : value)).toBe(negative ? nearest | 0x8000 : nearest);
      }),
      { numRuns: 2000 },
    );
  });

  it("sends every middle between neighbours to the even one, and the next number beyond it on", () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < largest; bits++) {
      const middle = (fromBits(bits) + fromBits(bits + 1)) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const nudge = middle * 2 ** -52 || Number.MIN_VALUE;
      if (toBits(middle) !== even || toBits(middle + nudge) !== bits + 1 || toBits(middle - nudge) !== bits) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
  });

  it("overflows to infinity from half a step beyond its largest number", () => {
    const top = fromBits(largest);
    const step = top - fromBits(largest - 1);
    expect(fromBits(toBits(top + step / 2))).toBe(Number.POSITIVE_INFINITY);
    expect(fromBits(toBits(top + 0.499 * step))).toBe(top);
    expect(fromBits(toBits(-top - step))).toBe(Number.NEGATIVE_INFINITY);
    expect(fromBits(toBits(Number.POSITIVE_INFINITY))).toBe(Number.POSITIVE_INFINITY);
  });

  it("keeps NaN and the sign of zero", () => {
    expect(fromBits(toBits(Number.NaN))).toBeNaN();
    expect(toBits(-0)).toBe(0x8000);
    expect(fromBits(0x8000)).toBe(-0);
    expect(toBits(-1e-300)).toBe(0x8000);
  });
});

describe("known bit patterns", () => {
  it.each([
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [2 ** -25 * 1.001, 0x0001],
    [3 * 2 ** -25, 0x0002],
    [1 / 3, 0x3555],
    [0.1, 0x2e66],
    [2049, 0x6800],
    [2051, 0x6802],
    [Number.NEGATIVE_INFINITY, 0xfc00],
  ])("float16 of %s", (value, bits) => {
    expect(toFloat16Bits(value)).toBe(bits);
  });

  it.each([
    [1, 0x3f80],
    [-2, 0xc000],
    [Math.PI, 0x4049],
    [1 / 3, 0x3eab],
    [1 + 2 ** -8, 0x3f80],
    [1 + 3 * 2 ** -8, 0x3f82],
    [1 + 2 ** -8 + 2 ** -40, 0x3f81],
    [1 + 3 * 2 ** -8 - 2 ** -40, 0x3f81],
    [2 ** -133, 0x0001],
    [3.3895313892515355e38, 0x7f7f],
    [Number.POSITIVE_INFINITY, 0x7f80],
  ])("bfloat16 of %s", (value, bits) => {
    expect(toBfloat16Bits(value)).toBe(bits);
  });
});

describe("encode and decode", () => {
  const ranges: Readonly<Record<Exclude<DType, "bool">, readonly [number, number]>> = {
    float64: [-1e300, 1e300],
    float32: [-1e38, 1e38],
    float16: [-65000, 65000],
    bfloat16: [-1e38, 1e38],
    int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    int32: [-(2 ** 31), 2 ** 31 - 1],
    int16: [-(2 ** 15), 2 ** 15 - 1],
    int8: [-128, 127],
    uint64: [0, Number.MAX_SAFE_INTEGER],
    uint32: [0, 2 ** 32 - 1],
    uint16: [0, 2 ** 16 - 1],
    uint8: [0, 255],
  };

  it.each(Object.entries(ranges) as [DType, readonly [number, number]][])("%s: store what roundTo says", (dtype, [min, max]) => {
    const value = isFloat(dtype) ? fc.double({ min, max, noNaN: true }) : fc.integer({ min, max });
    fc.assert(
      fc.property(fc.array(value), (values) => {
        const stored = encode(dtype, values);
        checkArray(dtype, stored, "the result");
        expect(Array.from(decode(dtype, stored), (x) => x + 0)).toEqual(values.map((x) => roundTo(dtype, x) + 0));
      }),
    );
  });

  it("cuts fractions off whole numbers", () => {
    expect([...encode("int64", [2.7, -2.7])]).toEqual([2n, -2n]);
    expect([...encode("int32", [2.7, -2.7])]).toEqual([2, -2]);
    expect([roundTo("int64", 2.7), roundTo("int32", -2.7)]).toEqual([2, -2]);
  });

  it("holds everything but 0 as true", () => {
    expect([...encode("bool", [0, 1, -0.5, Number.NaN, 2])]).toEqual([0, 1, 1, 1, 1]);
    expect([0, -0, 0.5].map((value) => roundTo("bool", value))).toEqual([0, 0, 1]);
  });
});

describe("element types", () => {
  it("are floats, whole numbers or bool", () => {
    for (const dtype of dtypes)
      expect(Number(isFloat(dtype)) + Number(isInteger(dtype)) + Number(dtype === "bool"), dtype).toBe(1);
  });

  it("have sizes, and numbers of their own in ONNX", () => {
    for (const dtype of dtypes) expect(allocate(dtype, 3).byteLength, dtype).toBe(3 * bytesPerElement(dtype));
    expect(new Set(dtypes.map(onnxDType)).size).toBe(dtypes.length);
    expect([onnxDType("float32"), onnxDType("int64"), onnxDType("bfloat16")]).toEqual([1, 7, 16]);
  });

  it("are known by name", () => {
    expect(isDType("bfloat16")).toBe(true);
    expect(isDType("float8")).toBe(false);
    expect(isDType("toString")).toBe(false);
  });

  it("can be seen in a buffer without a copy", () => {
    const buffer = new ArrayBuffer(16);
    const seen = view("int32", buffer, 4, 2);
    seen[0] = 7;
    expect(new DataView(buffer).getInt32(4, true)).toBe(7);
    expect(seen.length).toBe(2);
  });

  it("refuse the array of another type", () => {
    expect(() => checkArray("float32", new Float64Array(1), "The input 'x'")).toThrow(
      /The input 'x' is float32, which is held in a Float32Array, but a Float64Array was given/,
    );
  });
});

describe("numbers", () => {
  it.each<[DType, readonly number[], readonly number[]]>([
    ["uint8", [0, 255], [-1, 256, 0.5, Number.NaN]],
    ["int8", [-128, 127], [-129, 128, Number.POSITIVE_INFINITY]],
    ["int32", [-(2 ** 31), 2 ** 31 - 1], [2 ** 31, 1e-9]],
    ["uint64", [0, 2 ** 53], [-1, 2 ** 65]],
    ["bool", [0, 1], [2, 0.5, Number.NaN]],
    ["float16", [65504, 1e-30, Number.NaN, Number.NEGATIVE_INFINITY], [65536, -1e6]],
    ["bfloat16", [3e38, 0.1], [1e39]],
    ["float64", [1e300, Number.NaN], []],
  ])("that %s holds are taken, others are not", (dtype, held, refused) => {
    for (const value of held) expect(() => checkNumber(dtype, value)).not.toThrow();
    for (const value of refused) expect(() => checkNumber(dtype, value)).toThrow(expect.objectContaining({ code: "DTYPE" }));
  });

  it("of host arrays are checked when they are to be integers", () => {
    expect(() => fromNumbers("int32", [2], [1, 2.5])).toThrow(/An element of a host array \(2.5\) cannot be stored as int32/);
    expect(() => fromNumbers("uint8", [1], [-1])).toThrow(expect.objectContaining({ code: "DTYPE" }));
  });
});
