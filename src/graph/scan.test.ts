import { describe, expect, it } from "vitest";
import { evaluate } from "../engine/reference/interpret.js";
import { symbol } from "./dim.js";
import { grad } from "./gradient.js";
import { nodesOf } from "./graph.js";
import { constant, input, noiseOp, random } from "./leaves.js";
import { add, cast, matmul, mul, reshape, select, sigmoid, stack, sub, sum, tanh, zeros } from "./ops/index.js";
import { scan } from "./scan.js";
import type { ScanBody } from "./scan-body.js";
import type { Tensor } from "./tensor.js";
import { gradientProblems } from "./testing/finite-differences.js";
import { graphOf, inputsOf, numbersOf } from "./testing/values.js";
import { named, runTrace } from "./trace.js";
import { Variable } from "./variable.js";

/** Running sums. */
const cumulative = (x: Tensor, reverse = false): { readonly total: Tensor; readonly sums: Tensor } => {
  const {
    carry: [total],
    outputs: [sums],
  } = scan(
    ([sumSoFar], [element]) => {
      const next = add(sumSoFar, element);
      return { carry: [next], outputs: [next] };
    },
    { carry: [zeros(x.shape.slice(1))], sequences: [x], reverse },
  );
  return { total, sums };
};

/** An Elman network: h ← tanh(x·wx + h·wh). [steps, batch, in] → last state, all states */
const recurrent = (x: Tensor, initial: Tensor, wx: Tensor, wh: Tensor, reverse = false): readonly [Tensor, Tensor] => {
  const { carry, outputs } = scan(
    ([state], [element]) => {
      const next = tanh(add(matmul(element, wx), matmul(state, wh)));
      return { carry: [next], outputs: [next] };
    },
    { carry: [initial], sequences: [x], reverse },
  );
  return [carry[0], outputs[0]];
};

const unrolled = (x: Tensor, initial: Tensor, wx: Tensor, wh: Tensor, steps: number): readonly [Tensor, Tensor] => {
  const states: Tensor[] = [];
  let state = initial;
  for (let t = 0; t < steps; t++) {
    state = tanh(add(matmul(select(x, 0, t), wx), matmul(state, wh)));
    states.push(state);
  }
  return [state, stack(states, 0)];
};

const networkInputs = (steps: number | ReturnType<typeof symbol>) => ({
  x: input("x", "float32", [steps, 2, 3]),
  h: input("h", "float32", [2, 4]),
  wx: input("wx", "float32", [3, 4]),
  wh: input("wh", "float32", [4, 4]),
});

const wave = (rows: number, columns: number, phase: number): number[][] =>
  Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, k) => Math.sin(phase + 1.7 * i + 0.9 * k)));

const networkFeeds = (steps: number) => ({
  x: Array.from({ length: steps }, (_, t) => wave(2, 3, t)),
  h: wave(2, 4, 0.3),
  wx: wave(3, 4, 0.5),
  wh: wave(4, 4, 0.8),
});

describe("scan", () => {
  it("passes a state from step to step and stacks outputs", () => {
    const x = input("x", "float32", [4, 2]);
    const { total, sums } = cumulative(x);
    const feeds = {
      x: [
        [1, 10],
        [2, 20],
        [3, 30],
        [4, 40],
      ],
    };
    expect(numbersOf([total, sums], feeds)).toEqual([
      [10, 100],
      [1, 10, 3, 30, 6, 60, 10, 100],
    ]);
  });

  it("runs backwards; outputs stay at the place of their element", () => {
    const x = input("x", "float32", [3]);
    const { total, sums } = cumulative(x, true);
    expect(numbersOf([total, sums], { x: [1, 2, 4] })).toEqual([[7], [7, 6, 4]]);
  });

  it("takes any number of steps, none included", () => {
    const x = input("x", "float32", [symbol("steps"), 2]);
    const { total, sums } = cumulative(x);
    const [dx] = grad(sum(mul(sums, sums)), [x]);
    const graph = graphOf([total, sums, dx as Tensor]);
    for (const [rows, expected] of [
      [
        [[1, 2]],
        [
          [1, 2],
          [1, 2],
          [2, 4],
        ],
      ],
      [
        [
          [1, 2],
          [3, 4],
        ],
        [
          [4, 6],
          [1, 2, 4, 6],
          [10, 16, 8, 12],
        ],
      ],
    ] as const)
      expect(numbersOf([...graph.outputs.values()], { x: rows })).toEqual(expected);
    const nothing = evaluate(graph, new Map([["x", { dtype: "float32", shape: [0, 2], data: new Float32Array(0) }]]));
    expect([...nothing.values()].map(({ shape, data }) => [shape, [...data]])).toEqual([
      [[2], [0, 0]],
      [[0, 2], []],
      [[0, 2], []],
    ]);
  });

  it.each([false, true])("computes and differentiates like the unrolled loop (reverse: %s)", (reverse) => {
    const { x, h, wx, wh } = networkInputs(3);
    const flip = (t: Tensor) =>
      reverse
        ? stack(
            [2, 1, 0].map((i) => select(t, 0, i)),
            0,
          )
        : t;
    const gradients = ([last, all]: readonly [Tensor, Tensor]) => {
      const loss = add(sum(mul(last, last)), sum(mul(all, sigmoid(all))));
      return [last, all, ...grad(loss, [x, h, wx, wh])];
    };
    const [last, all] = unrolled(flip(x), h, wx, wh, 3);
    const actual = numbersOf(gradients(recurrent(x, h, wx, wh, reverse)), networkFeeds(3));
    const expected = numbersOf(gradients([last, flip(all)]), networkFeeds(3));
    for (const [i, values] of expected.entries())
      for (const [k, value] of values.entries()) expect(actual[i]?.[k]).toBeCloseTo(value, 10);
  });

  it("has gradients of gradients", () => {
    const { x, h, wx, wh } = networkInputs(symbol("steps"));
    const [last, all] = recurrent(x, h, wx, wh);
    const loss = add(sum(mul(last, last)), sum(mul(all, all)));
    const first = grad(loss, [x, h, wx, wh]);
    const graph = graphOf([first.map((gradient) => sum(mul(gradient, gradient))).reduce((a, b) => add(a, b))]);
    expect(gradientProblems(graph, inputsOf(graph, networkFeeds(3)), ["x", "h", "wx", "wh"], { tolerance: 1e-5 })).toEqual([]);
  });

  it("computes once outside what does not depend on the step", () => {
    const x = input("x", "float32", [5, 3]);
    const w = input("w", "float32", [3, 3]);
    const { outputs } = scan((_, [element]) => ({ carry: [], outputs: [mul(element, sum(tanh(w)))] }), {
      carry: [],
      sequences: [x],
    });
    const node = outputs[0].node;
    const inside = nodesOf((node.attributes.body as ScanBody).outputs).map(({ op }) => op.name);
    expect(inside).not.toContain("tanh");
    expect(nodesOf(outputs).map(({ op }) => op.name)).toContain("tanh");
    expect((node.attributes.body as ScanBody).captured.length).toBe(1);
  });

  it("takes a captured value that is used only as a result", () => {
    const x = input("x", "float32", [2]);
    const w = input("w", "float32", [3]);
    const { carry, outputs } = scan(() => ({ carry: [w], outputs: [w, constant(7)] }), { carry: [zeros([3])], sequences: [x] });
    const results = [carry[0], outputs[0], outputs[1]];
    const feeds = { x: [0, 0], w: [1, 2, 3] };
    expect(numbersOf(results, feeds)).toEqual([
      [1, 2, 3],
      [1, 2, 3, 1, 2, 3],
      [7, 7],
    ]);
    expect(numbersOf(grad(add(sum(carry[0]), sum(mul(outputs[0], outputs[0]))), [w]), feeds)).toEqual([[5, 9, 13]]);
  });

  it("carries whole numbers beside floats, without gradients", () => {
    const x = input("x", "float32", [4]);
    const { carry, outputs } = scan(
      ([count, product], [element]) => {
        const next = add(count, constant(1, "int64"));
        return { carry: [next, mul(product, mul(element, cast(next, "float32")))], outputs: [next] };
      },
      { carry: [constant(0, "int64"), constant(1)], sequences: [x] },
    );
    expect(numbersOf([carry[0], carry[1], outputs[0]], { x: [1, 1, 2, 1] })).toEqual([[4], [48], [1, 2, 3, 4]]);
    expect(numbersOf(grad(carry[1], [x]), { x: [1, 1, 2, 1] })).toEqual([[48, 48, 24, 48]]);
  });

  it("works inside itself", () => {
    // Row sums of a matrix of running sums, the inner loop over columns reading the outer state.
    const x = input("x", "float32", [3, 4]);
    const outer = scan(
      ([total], [row]) => {
        const inner = scan(([t], [value]) => ({ carry: [add(t, mul(value, total))] }), {
          carry: [constant(0)],
          sequences: [row],
        });
        return { carry: [add(total, inner.carry[0])], outputs: [inner.carry[0]] };
      },
      { carry: [constant(1)], sequences: [x] },
    );
    let total = 1;
    const rows = [
      [1, 2, 0, 1],
      [0.5, 0, 0.5, 1],
      [1, 1, 1, -1],
    ];
    for (const row of rows) total += row.reduce((a, b) => a + b, 0) * total;
    const [last] = numbersOf([outer.carry[0]], { x: rows });
    expect(last?.[0]).toBeCloseTo(total, 12);
    const graph = graphOf([outer.carry[0]]);
    expect(gradientProblems(graph, inputsOf(graph, { x: rows }), ["x"])).toEqual([]);
    const [dx] = grad(outer.carry[0], [x]);
    const second = graphOf([sum(mul(dx as Tensor, dx as Tensor))]);
    expect(gradientProblems(second, inputsOf(second, { x: rows }), ["x"], { tolerance: 1e-5 })).toEqual([]);
  });

  it("draws noise anew in each step, the same in the gradient", () => {
    const x = input("x", "float32", [6, 8]);
    const { outputs } = scan(
      (_, [element]) => ({ carry: [], outputs: [mul(element, cast(random.bernoulli([8], 0.5), "float32"))] }),
      { carry: [], sequences: [x] },
    );
    const ones = Array.from({ length: 6 }, () => new Array<number>(8).fill(1));
    const [masks, gradient] = numbersOf([outputs[0], ...grad(sum(outputs[0]), [x])], { x: ones });
    const rows = Array.from({ length: 6 }, (_, i) => masks?.slice(8 * i, 8 * i + 8).join(""));
    expect(new Set(rows).size).toBeGreaterThan(3);
    expect(gradient).toEqual(masks);
    expect(
      nodesOf(outputs)
        .filter(({ op }) => op === noiseOp)
        .map(({ outputs: [leaf] }) => leaf?.shape),
    ).toEqual([[6, 8]]);
  });

  it("gives values named inside their names, stacked over the steps", () => {
    const x = input("x", "float32", [3]);
    const { result, trace } = runTrace({ training: false, fetch: [] }, () =>
      scan(
        ([state], [element]) => {
          named("square", mul(element, element));
          return { carry: [add(state, element)] };
        },
        { carry: [constant(0)], sequences: [x] },
      ),
    );
    expect(result.outputs).toEqual([]);
    expect(numbersOf([trace.named.get("square") as Tensor], { x: [1, 2, 3] })).toEqual([[1, 4, 9]]);
  });

  it("refuses to assign a variable in each step", () => {
    const variable = new Variable([], { name: "counter" });
    const x = input("x", "float32", [3]);
    const run = () =>
      runTrace({ training: true, fetch: [] }, () =>
        scan(
          (_, [element]) => {
            variable.assign(element);
            return { carry: [] };
          },
          { carry: [], sequences: [x] },
        ),
      );
    expect(run).toThrow(/counter.*assigned inside a scan/);
    const again = () =>
      runTrace({ training: true, fetch: [] }, () => {
        variable.assign(constant(1));
        scan(
          (_, [element]) => {
            variable.update((next) => add(next, element));
            return { carry: [] };
          },
          { carry: [], sequences: [x] },
        );
      });
    expect(again).toThrow(/counter.*assigned inside a scan/);
  });

  it("says what does not fit", () => {
    const x = input("x", "float32", [4, 2]);
    const step = (carry: (state: Tensor, element: Tensor) => Tensor) =>
      scan(([state], [element]) => ({ carry: [carry(state, element)] }), { carry: [zeros([2])], sequences: [x] });
    expect(() => step((state) => sum(state))).toThrow(/carry after a step 0 is float32\[\], but float32\[2\] is needed/);
    expect(() => step((state) => cast(state, "float16"))).toThrow(/carry after a step 0 is float16\[2\], but float32/);
    expect(() => scan(() => ({ carry: [] }), { carry: [], sequences: [] })).toThrow(/at least one sequence/);
    expect(() => scan(() => ({ carry: [] }), { carry: [], sequences: [constant(1)] })).toThrow(/leading axis/);
    const other = input("other", "float32", [3]);
    expect(() => scan(() => ({ carry: [] }), { carry: [], sequences: [x, other] })).toThrow(/\[4, 2\] and \[3\]/);
  });

  it("leaves the surroundings of a body alone", () => {
    const x = input("x", "float32", [3]);
    const scale = mul(input("s", "float32", []), 2);
    const { outputs } = scan((_, [element]) => ({ carry: [], outputs: [sub(mul(element, scale), reshape(scale, []))] }), {
      carry: [],
      sequences: [x],
    });
    expect(numbersOf([outputs[0], scale], { x: [1, 2, 3], s: 5 })).toEqual([[0, 10, 20], [10]]);
  });
});
