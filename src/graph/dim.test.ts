import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Atom,
  addDims,
  asAtom,
  bindDim,
  bindShape,
  broadcastShapes,
  ceilDivDims,
  type Dim,
  divideExactly,
  floorDivDims,
  formatShape,
  mulDims,
  normalizeAxis,
  productOf,
  type Shape,
  sameDim,
  subDims,
  symbol,
} from "./dim.js";

const [batch, seq, past] = [symbol("batch"), symbol("seq"), symbol("past")];
const symbols = [batch, seq, past];

/** A way to compute a size, and the same with numbers. */
interface Expression {
  readonly dim: Dim;
  readonly evaluate: (sizes: readonly number[]) => number;
}

const { expression } = fc.letrec<{ expression: Expression }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 4 },
    fc.nat(symbols.length - 1).map((i): Expression => ({ dim: symbols[i] as Dim, evaluate: (sizes) => sizes[i] as number })),
    fc.integer({ min: -4, max: 9 }).map((value): Expression => ({ dim: value, evaluate: () => value })),
    fc.tuple(tie("expression"), tie("expression"), fc.constantFrom("add", "sub", "mul")).map(
      ([a, b, kind]): Expression => ({
        dim: { add: addDims, sub: subDims, mul: mulDims }[kind](a.dim, b.dim),
        evaluate: (sizes) => {
          const [x, y] = [a.evaluate(sizes), b.evaluate(sizes)];
          return kind === "add" ? x + y : kind === "sub" ? x - y : x * y;
        },
      }),
    ),
    fc.tuple(tie("expression"), fc.integer({ min: 1, max: 4 })).map(
      ([a, divisor]): Expression => ({
        dim: floorDivDims(a.dim, divisor),
        evaluate: (sizes) => Math.floor(a.evaluate(sizes) / divisor),
      }),
    ),
  ),
}));

const sizes = fc.tuple(fc.nat(7), fc.nat(7), fc.nat(7));
const bindingsOf = (values: readonly number[]): Map<Atom, number> =>
  new Map(symbols.map((dim, i) => [asAtom(dim) as Atom, values[i] as number]));

describe("arithmetic of dimensions", () => {
  it("agrees with arithmetic of numbers, whatever the symbols stand for", () => {
    fc.assert(
      fc.property(expression, sizes, ({ dim, evaluate }, values) => {
        // + 0: a product may be −0.
        expect(bindDim(dim, bindingsOf(values)) + 0).toBe(evaluate(values) + 0);
      }),
      { numRuns: 500 },
    );
  });

  it("keeps the laws of a commutative ring, as equality of dimensions", () => {
    fc.assert(
      fc.property(expression, expression, expression, ({ dim: a }, { dim: b }, { dim: c }) => {
        const same = (x: Dim, y: Dim) => expect(sameDim(x, y), `${x} = ${y}`).toBe(true);
        same(addDims(a, b), addDims(b, a));
        same(mulDims(a, b), mulDims(b, a));
        same(addDims(addDims(a, b), c), addDims(a, addDims(b, c)));
        same(mulDims(mulDims(a, b), c), mulDims(a, mulDims(b, c)));
        same(mulDims(a, addDims(b, c)), addDims(mulDims(a, b), mulDims(a, c)));
        same(addDims(a, 0), a);
        same(mulDims(a, 1), a);
        same(mulDims(a, 0), 0);
        same(subDims(a, a), 0);
        same(addDims(subDims(a, b), b), a);
      }),
    );
  });

  it("gives back a number where nothing symbolic is left", () => {
    expect(subDims(addDims(seq, 3), seq)).toBe(3);
    expect(floorDivDims(mulDims(seq, 4), mulDims(seq, 2))).toBe(2);
    expect(addDims()).toBe(0);
    expect(mulDims()).toBe(1);
    expect(productOf([])).toBe(1);
  });

  it("undoes a product by dividing", () => {
    fc.assert(
      fc.property(expression, fc.integer({ min: 1, max: 6 }), ({ dim }, factor) => {
        expect(sameDim(floorDivDims(mulDims(dim, factor), factor), dim)).toBe(true);
        expect(sameDim(floorDivDims(mulDims(dim, seq, factor), mulDims(seq, factor)), dim)).toBe(true);
      }),
    );
  });

  it("divides by sums", () => {
    const keys = addDims(past, seq);
    expect(sameDim(floorDivDims(productOf([batch, keys, 8]), mulDims(keys, 4)), mulDims(batch, 2))).toBe(true);
    fc.assert(
      fc.property(expression, expression, ({ dim: a }, { dim: b }) => {
        if (b !== 0) expect(sameDim(divideExactly(mulDims(a, b), b) as Dim, a)).toBe(true);
      }),
    );
  });

  it("takes what divides out of a quotient", () => {
    fc.assert(
      fc.property(expression, expression, fc.integer({ min: 1, max: 5 }), ({ dim: a }, { dim: b }, divisor) => {
        const together = floorDivDims(addDims(mulDims(a, divisor), b), divisor);
        expect(sameDim(together, addDims(a, floorDivDims(b, divisor)))).toBe(true);
      }),
    );
    expect(sameDim(ceilDivDims(mulDims(seq, 2), 2), seq)).toBe(true);
    expect(String(floorDivDims(addDims(mulDims(seq, 2), 3), 2))).toBe("seq + 1");
  });

  it("rounds up", () => {
    fc.assert(
      fc.property(fc.nat(50), fc.integer({ min: 1, max: 9 }), (size, divisor) => {
        expect(ceilDivDims(size, divisor)).toBe(Math.ceil(size / divisor));
        expect(bindDim(ceilDivDims(seq, divisor), bindingsOf([0, size, 0]))).toBe(Math.ceil(size / divisor));
      }),
    );
  });

  it("names the same quotient alike, and different ones apart", () => {
    expect(sameDim(floorDivDims(seq, 2), floorDivDims(seq, 2))).toBe(true);
    expect(sameDim(floorDivDims(mulDims(seq, 2), 6), floorDivDims(addDims(mulDims(seq, 4), 3), 12))).toBe(true);
    expect(sameDim(floorDivDims(subDims(seq, 1), 2), subDims(floorDivDims(addDims(seq, 1), 2), 1))).toBe(true);
    expect(sameDim(floorDivDims(seq, 2), floorDivDims(seq, 3))).toBe(false);
    expect(sameDim(floorDivDims(seq, 2), floorDivDims(batch, 2))).toBe(false);
  });

  it("divides exactly or says that it cannot", () => {
    expect(divideExactly(12, 4)).toBe(3);
    expect(divideExactly(12, 5)).toBeUndefined();
    expect(divideExactly(seq, batch)).toBeUndefined();
    expect(divideExactly(addDims(seq, past), addDims(past, seq))).toBe(1);
    expect(divideExactly(addDims(seq, 1), past)).toBeUndefined();
    expect(divideExactly(0, seq)).toBe(0);
    expect(divideExactly(seq, 0)).toBeUndefined();
    expect(() => floorDivDims(seq, batch)).toThrow(/seq is not a multiple of batch/);
    expect(() => floorDivDims(seq, 0)).toThrow(/divided by zero/);
  });
});

describe("symbols", () => {
  it("equal themselves only, whatever they are called", () => {
    expect(sameDim(seq, seq)).toBe(true);
    expect(sameDim(seq, symbol("seq"))).toBe(false);
    expect(sameDim(seq, 1)).toBe(false);
  });

  it("read as what they mean", () => {
    expect(formatShape([batch, addDims(past, seq), mulDims(2, seq), subDims(seq, 1), 4])).toBe(
      "[batch, seq + past, 2·seq, seq - 1, 4]",
    );
    expect(String(subDims(batch, seq))).toBe("batch - seq");
    expect(String(floorDivDims(seq, 2))).toBe("⌊seq/2⌋");
    expect(String(floorDivDims(addDims(seq, 1), 2))).toBe("⌊(seq + 1)/2⌋");
  });

  it("cannot be used as numbers", () => {
    expect(() => Number(seq)).toThrow(/`seq` is symbolic/);
    expect(() => (seq as unknown as number) * 2).toThrow(/addDims, mulDims/);
  });

  it("need a size to be bound", () => {
    expect(bindShape([batch, addDims(past, seq), 3], bindingsOf([2, 5, 7]))).toEqual([2, 12, 3]);
    expect(() => bindDim(seq, new Map())).toThrow(/`seq` has no size/);
    expect(asAtom(addDims(seq, 1))).toBeUndefined();
    expect(asAtom(mulDims(seq, 2))).toBeUndefined();
    expect(asAtom(5)).toBeUndefined();
  });
});

describe("broadcastShapes", () => {
  const dim: fc.Arbitrary<Dim> = fc.constantFrom<Dim>(1, 2, 5, seq, batch);
  const target = fc.array(dim, { maxLength: 4 });
  /** A shape that broadcasts to the target: axes left out in front, others replaced by 1. */
  const narrowed = (shape: Shape, choices: readonly number[]): Shape =>
    shape.slice((choices[0] ?? 0) % (shape.length + 1)).map((size, i) => ((choices[i + 1] ?? 0) % 2 ? 1 : size));

  it("gives the shape that both were narrowed from, in either order", () => {
    fc.assert(
      fc.property(target, fc.array(fc.nat(7), { minLength: 6, maxLength: 6 }), (shape, choices) => {
        const narrow = narrowed(shape, choices);
        expect(broadcastShapes(shape, narrow)).toEqual(shape);
        expect(broadcastShapes(narrow, shape)).toEqual(shape);
        expect(broadcastShapes(shape, shape, narrow)).toEqual(shape);
      }),
    );
  });

  it("takes none, scalars and ones", () => {
    expect(broadcastShapes()).toEqual([]);
    expect(broadcastShapes([], [2])).toEqual([2]);
    expect(broadcastShapes([3, 1], [1, 4])).toEqual([3, 4]);
    expect(broadcastShapes([0], [1])).toEqual([0]);
  });

  it("refuses different sizes, and symbols that are not the same", () => {
    expect(() => broadcastShapes([2, 3], [4])).toThrow("[2, 3] and [4] do not broadcast: 3 and 4 differ in dimension -1");
    expect(() => broadcastShapes([seq], [batch])).toThrow(/seq and batch/);
    expect(() => broadcastShapes([seq], [3])).toThrow(/seq and 3/);
    expect(() => broadcastShapes([seq], [symbol("seq")])).toThrow(/do not broadcast/);
    expect(() => broadcastShapes([0], [2])).toThrow(/do not broadcast/);
  });
});

describe("normalizeAxis", () => {
  it("counts negative axes from the end", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.nat(), (rank, pick) => {
        const axis = pick % rank;
        expect(normalizeAxis(axis, rank)).toBe(axis);
        expect(normalizeAxis(axis - rank, rank)).toBe(axis);
      }),
    );
  });

  it.each([
    [2, 2],
    [-3, 2],
    [0, 0],
    [0.5, 2],
  ])("refuses axis %s of rank %s", (axis, rank) => {
    expect(() => normalizeAxis(axis, rank)).toThrow(/outside a tensor of rank/);
  });
});
