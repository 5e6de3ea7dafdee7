import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DType } from "./dtype.js";
import { fromNumbers, type HostArray, toNumbers } from "./host-array.js";
import { constant } from "./leaves.js";
import { add } from "./ops/index.js";
import type { Tensor } from "./tensor.js";
import { runTrace } from "./trace.js";
import { Parameter, Variable } from "./variable.js";

const uniform = (shape: readonly number[], { uniform: draw }: { uniform(): number }): Float32Array =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, draw);

const tracing = <R>(fn: () => R) => runTrace({ training: true, fetch: [] }, fn);

describe("the initial value", () => {
  it("is zero without an initializer, in the variable's dtype", () => {
    expect(new Variable([2, 2], { dtype: "int64" }).hostValue()).toEqual(fromNumbers("int64", [2, 2], [0, 0, 0, 0]));
    expect(new Variable([0]).hostValue().data.length).toBe(0);
  });

  it("depends on seed and path alone, not on what else exists", () => {
    const make = (path: string, seed: number): number[] => {
      const variable = new Variable([3], { initializer: uniform });
      variable.path = path;
      variable.seedInitialValue(seed);
      return Array.from(toNumbers(variable.hostValue()));
    };
    const first = make("layers.0.weight", 1);
    make("another", 1);
    expect(make("layers.0.weight", 1)).toEqual(first);
    expect(make("layers.1.weight", 1)).not.toEqual(first);
    expect(make("layers.0.weight", 2)).not.toEqual(first);
  });

  it("differs between variables of one path that no seed was chosen for", () => {
    const make = (path?: string) => [
      ...new Variable([4], { initializer: uniform, ...(path ? { name: path } : {}) }).hostValue().data,
    ];
    expect(make("first.of.its.path")).not.toEqual(make("first.of.its.path"));
    expect(make()).not.toEqual(make());
  });

  it("stays when it has been made, whatever seed comes later", () => {
    const variable = new Variable([3], { initializer: uniform, name: "x" });
    const first = [...variable.hostValue().data];
    variable.seedInitialValue(99);
    expect([...variable.hostValue().data]).toEqual(first);
  });

  it("must have the shape and the dtype of the variable", () => {
    expect(() => new Variable([3], { name: "x", initializer: () => new Float32Array(2) }).hostValue()).toThrow(
      /initializer of x float32\[3\] gave 2 elements, but 3 are needed/,
    );
    expect(() => new Variable([3], { dtype: "int32", initializer: () => new Float32Array(3) }).hostValue()).toThrow(/Int32Array/);
  });

  it("is rounded to the float that the variable has", () => {
    const value = (dtype: DType) =>
      toNumbers(new Variable([1], { dtype, initializer: () => Float32Array.of(1 / 3) }).hostValue());
    expect((["float64", "float16", "bfloat16"] as const).map((dtype) => value(dtype)[0])).toEqual([
      Math.fround(1 / 3),
      0.333251953125,
      0.333984375,
    ]);
  });
});

describe("reading and writing", () => {
  it("copies in both directions", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer(), { minLength: 1 }), async (values) => {
        const variable = new Variable([values.length], { dtype: "int32" });
        const given = fromNumbers("int32", [values.length], values);
        variable.write(given);
        given.data.fill(0);
        const read = await variable.read();
        expect([...read.data]).toEqual(values);
        (read.data as Int32Array).fill(0);
        expect([...(await variable.read()).data]).toEqual(values);
      }),
    );
  });

  it("counts versions, so that copies elsewhere are noticed", () => {
    const variable = new Variable([1]);
    const { version } = variable;
    variable.hostValue();
    expect(variable.version).toBe(version);
    variable.write(fromNumbers("float32", [1], [1]));
    expect(variable.version).toBe(version + 1);
  });

  it("refuses another shape, dtype or number of elements and keeps what it had", async () => {
    const variable = new Variable([2], { name: "weight" });
    variable.write(fromNumbers("float32", [2], [1, 2]));
    expect(() => variable.write(fromNumbers("float32", [3], [1, 2, 3]))).toThrow(/weight float32\[2\] cannot take float32\[3\]/);
    expect(() => variable.write(fromNumbers("float64", [2], [1, 2]))).toThrow(/cannot take float64/);
    expect(() => variable.write({ dtype: "float32", shape: [2], data: new Float32Array(5) })).toThrow(/needs 2 elements, but 5/);
    expect(() => variable.write({ dtype: "float32", shape: [2], data: new Int8Array(2) } as unknown as HostArray)).toThrow(
      /Int8Array/,
    );
    expect([...(await variable.read()).data]).toEqual([1, 2]);
  });

  it("asks whoever holds the newest value", async () => {
    const variable = new Variable([1]);
    variable.moveTo({ read: async () => fromNumbers("float32", [1], [42]) });
    expect([...(await variable.read()).data]).toEqual([42]);
    expect(() => variable.hostValue()).toThrow(/held by an engine: use read/);
    variable.write(fromNumbers("float32", [1], [7]));
    expect([...variable.hostValue().data]).toEqual([7]);
  });
});

describe("assign", () => {
  it("records what the variable becomes; reading it gives the old value", () => {
    const variable = new Parameter([], { name: "count" });
    const { result, trace } = tracing(() => {
      const next = add(variable, 1);
      variable.assign(next);
      return { next, again: add(variable, 0) };
    });
    expect(trace.updates.get(variable)).toBe(result.next);
    expect(result.again.node.inputs[0]).toBe(variable);
  });

  it("refuses to be called twice, outside of a trace, or with what does not fit", () => {
    const variable = new Variable([2], { name: "state" });
    expect(() => variable.assign(constant([1, 2]))).toThrow(/state.*inside a compiled function.*use write/);
    expect(() => tracing(() => variable.assign(constant([1, 2, 3])))).toThrow(/the shape and the dtype of a variable stay/);
    expect(() => tracing(() => variable.assign(constant([1, 2], "int32")))).toThrow(/the shape and the dtype/);
    expect(() =>
      tracing(() => {
        variable.assign(constant([1, 2]));
        variable.assign(constant([1, 2]));
      }),
    ).toThrow(/assigned twice/);
  });
});

describe("next", () => {
  it("is what the variable is about to become, and its present value where nothing changes it", () => {
    const [changed, kept] = [new Parameter([], { name: "a" }), new Variable([], { name: "b" })];
    const { result, trace } = tracing(() => {
      changed.assign(add(changed, 1));
      return [changed.next(), kept.next()];
    });
    expect(result).toEqual([trace.updates.get(changed), kept]);
  });

  it("is what later updates in the same program build on", () => {
    const variable = new Variable([], { name: "count" });
    const { result, trace } = tracing(() => {
      const seen: unknown[] = [];
      for (let i = 0; i < 2; i++)
        variable.update((next) => {
          seen.push(next);
          return add(next, 1);
        });
      return seen;
    });
    expect(result[0]).toBe(variable);
    expect((result[1] as Tensor).node.inputs[0]).toBe(variable);
    expect(trace.updates.get(variable)?.node.inputs[0]).toBe(result[1]);
  });

  it("may not be read before the last update, or outside a trace", () => {
    const variable = new Variable([], { name: "count" });
    for (const change of [() => variable.assign(constant(1)), () => variable.update((next) => add(next, 1))])
      expect(() =>
        tracing(() => {
          variable.next();
          change();
        }),
      ).toThrow(/count float32\[\] is assigned after its next value was read/);
    expect(() => variable.next()).toThrow(/count.*next\(\).*inside a compiled function/);
    expect(() => variable.update((next) => next)).toThrow(/count.*update\(\).*inside a compiled function/);
  });
});

it("needs sizes that are whole numbers", () => {
  expect(() => new Variable([2, -1])).toThrow(/whole numbers/);
  expect(() => new Variable([0.5])).toThrow(/whole numbers/);
});
