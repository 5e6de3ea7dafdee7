/** An operator on an engine in another float than float32. */

import { evaluate } from "../../engine/reference/interpret.js";
import { DTypeError } from "../../errors.js";
import type { FloatDType } from "../dtype.js";
import type { Graph } from "../graph.js";
import { fromNumbers, type HostArray, toNumbers } from "../host-array.js";
import type { OpDefinition } from "../op.js";
import { casesOf, type OpCase } from "./cases.js";
import { difference, type GraphLoader } from "./compare.js";
import { drawInputs, gradientGraph } from "./op-graph.js";

/** What disagrees with the reference, forward or backward, in words; examples that do not take the dtype have nothing to check. */
export async function engineFloatProblems(
  load: GraphLoader,
  definition: OpDefinition,
  float: FloatDType,
  tolerance: number,
): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const testCase of casesOf(definition).filter(({ kind }) => kind === "typical")) {
    const graph = takes(testCase, float);
    if (!graph) continue;
    const drawn = drawInputs(testCase, gradientGraph(testCase));
    const inputs = new Map(
      [...graph.inputs].map(([name, { dtype }]) => {
        const array = drawn.get(name) as HostArray;
        return [name, fromNumbers(dtype, array.shape, toNumbers(array))] as const;
      }),
    );
    try {
      const model = await load(graph);
      const actual = await model.run(inputs);
      await model.release();
      for (const [name, expected] of evaluate(graph, inputs)) {
        const found = difference(actual.get(name) as HostArray, expected, tolerance);
        if (found) problems.push(`${testCase.label} ${name}: ${found}`);
      }
    } catch (error) {
      problems.push(`${testCase.label}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return problems;
}

function takes(testCase: OpCase, float: FloatDType): Graph | undefined {
  try {
    return gradientGraph(testCase, { float });
  } catch (error) {
    if (error instanceof DTypeError) return undefined;
    throw error;
  }
}
