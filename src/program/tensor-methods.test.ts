/** Imports nothing of the graph: a program's inputs have their methods all the same. */

import { expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { compile, float32 } from "./index.js";

it("tensors that a compiled function gets have their methods", async () => {
  const program = compile(({ x }) => ({ y: x.mul(2).sum() }), { x: float32("n") }, { engine: referenceEngine() });
  expect((await program({ x: [1, 2, 3] })).y.item()).toBe(12);
});
