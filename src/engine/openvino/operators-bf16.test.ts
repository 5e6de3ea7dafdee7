/**
 * Every operator whose operands are bfloat16, forward and backward, on OpenVINO with its lowering, against the reference in float32
 * from the same operands. The bound is one part in 64 of the largest value: three roundings to 8 bits in a row.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../graph/index.js";
import { fromNumbers, type HostArray, toNumbers } from "../../graph/host-array.js";
import { operators } from "../../graph/op.js";
import { casesOf, type OpCase } from "../../graph/testing/cases.js";
import { difference, loaderFor } from "../../graph/testing/compare.js";
import { drawInputs, gradientGraph } from "../../graph/testing/op-graph.js";
import type { Engine } from "../engine.js";
import { evaluate } from "../reference/interpret.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { openVino } from "./engine.js";

const BOUND = 2 ** -6;

const inDType = (dtype: "float32" | "bfloat16", array: HostArray): HostArray =>
  array.dtype === "float32" || array.dtype === "bfloat16" ? fromNumbers(dtype, array.shape, toNumbers(array)) : array;

/** What disagrees, in words. */
async function problemsOf(engine: Engine, testCase: OpCase): Promise<readonly string[]> {
  const wide = gradientGraph(testCase);
  const narrow = gradientGraph(testCase, { float: "bfloat16" });
  const rounded = new Map(Array.from(drawInputs(testCase, wide), ([name, array]) => [name, inDType("bfloat16", array)]));
  const expected = evaluate(wide, new Map(Array.from(rounded, ([name, array]) => [name, inDType("float32", array)])));
  const loaded = await loaderFor(engine)(narrow);
  try {
    const actual = await loaded.run(rounded);
    return [...expected].flatMap(([name, array]) => {
      const found = difference(inDType("float32", actual.get(name) as HostArray), array, BOUND);
      return found === undefined ? [] : [`${testCase.label} ${name}: ${found}`];
    });
  } catch (error) {
    return [`${testCase.label}: ${(error as Error).message}`];
  } finally {
    await loaded.release();
  }
}

const absent = await whyNoOpenVino();

describe.skipIf(absent)(absent ?? "operators in bfloat16 on OpenVINO", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openVino({ threads: 2 });
  });
  afterAll(() => engine?.close());

  // Bodies of loops and branches stay float32, by the policy of docs/precision.md.
  const cases = operators()
    .filter(({ name }) => name !== "scan" && name !== "cond")
    .map((definition) => ({ name: definition.name, definition }));
  it.each(cases)("$name", async ({ definition }) => {
    const problems: string[] = [];
    for (const testCase of casesOf(definition))
      if (testCase.kind === "typical") problems.push(...(await problemsOf(engine, testCase)));
    expect(problems).toEqual([]);
  });
});
