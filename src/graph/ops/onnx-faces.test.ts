/** The standard ONNX of every operator, run by ONNX Runtime, against its reference. */

import { describe, expect, it } from "vitest";
import { noLowering } from "../../engine/engine.js";
import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import "../barrier.js";
import "../cond.js";
import "../custom-gradient.js";
import "../scan.js";
import { type OpDefinition, operator, operators } from "../op.js";
import { engineFloatProblems } from "../testing/check-engine-float.js";
import { compareWithReference, loaderFor } from "../testing/compare.js";
import { describeOperators } from "../testing/describe-operators.js";
import "./index.js";

/** Without lowerings: what is tested here are the operators' own faces. */
const standardEngine = async () => Object.assign(await onnxRuntimeNode({ threads: 1 }), { lowering: noLowering });

describeOperators("standard ONNX on ONNX Runtime's CPU", standardEngine);

describe.each([
  ["float64", 1e-7],
  ["float16", 2e-2],
] as const)("standard ONNX on ONNX Runtime's CPU in %s", (float, tolerance) => {
  // Kernels that ONNX Runtime does not have (docs/engines.md).
  const absent = float === "float64" ? ["erf", "gelu", "atan2", "conv", "convTranspose", "avgPool"] : [];
  const definitions = operators().filter(({ name }) => !absent.includes(name));

  it("agrees with the reference, forward and backward", async () => {
    const engine = await standardEngine();
    const problems: string[] = [];
    for (const definition of definitions)
      problems.push(...(await engineFloatProblems(loaderFor(engine), definition, float, tolerance)));
    await engine.close();
    expect(problems).toEqual([]);
  });
});

describe("the comparison", () => {
  const compare = async (change: Partial<OpDefinition>): Promise<readonly string[]> => {
    const engine = await standardEngine();
    const problems = await compareWithReference(loaderFor(engine), { ...operator("mul"), ...change });
    await engine.close();
    return problems;
  };

  it("notices another value, shape or dtype, and a model that is refused", async () => {
    expect(await compare({})).toEqual([]);
    expect((await compare({ onnx: (node, [a, b]) => node("Add", [a, b]) }))[0]).toMatch(
      /^mul #0 .* y0: element \d+ of \[2, 3\] is/,
    );
    expect((await compare({ onnx: (node, [a]) => node("Transpose", [a]) })).join()).toMatch(/shape is \[3, 2\], not \[2, 3\]/);
    expect((await compare({ onnx: (node, [a]) => node("NoSuchOperator", [a]) }))[0]).toMatch(
      /^mul #0 symbolic: .*NoSuchOperator/,
    );
  });
});
