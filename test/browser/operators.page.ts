/** Every operator in a page, compared with its reference; `operators.test.ts` calls this. */

import { createEngine, type Device, type Engine } from "../../src/engine/index.js";
import "../../src/graph/index.js";
import { operators } from "../../src/graph/op.js";
import { concreteExample, type OpCase } from "../../src/graph/testing/cases.js";
import { compareWithReference, loaderFor } from "../../src/graph/testing/compare.js";

const engines = new Map<Device, Promise<Engine>>();

/** What WebGPU does not take (docs/engines.md): these fail when a symbolic size turns out to be 0; float16 needs a device that has it. */
function isBeyondWebgpu(testCase: OpCase): boolean {
  const { kind, definition } = testCase;
  if (kind === "empty" && ["matmul", "softmax", "logSoftmax", "labelLogProbability"].includes(definition.name)) return true;
  if (definition.name === "conv" && testCase.index === 5) return true; // its gradient, over three axes
  const { attributes } = concreteExample(testCase);
  return attributes?.dtype === "float16" || attributes?.dtype === "float64";
}

/** Runs all cases of an operator on a device, forward and backward; what disagrees, in words. */
export async function operatorProblems(name: string, device: Device): Promise<readonly string[]> {
  const definition = operators().find((one) => one.name === name);
  if (!definition) return [`The page knows no operator ${name}.`];
  const engine = engines.get(device) ?? createEngine({ device, worker: true, threads: 2 });
  engines.set(device, engine);
  return compareWithReference(loaderFor(await engine), definition, device === "webgpu" ? { skip: isBeyondWebgpu } : {});
}
