/** One generated test for each operator and engine. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../engine/engine.js";
import { operators } from "../op.js";
import { type CompareOptions, compareWithReference, loaderFor } from "./compare.js";

/** Compares every registered operator with its reference on an engine: forward and backward, all of its cases. */
export function describeOperators(title: string, create: () => Promise<Engine>, options: CompareOptions = {}): void {
  describe(title, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await create();
    });
    afterAll(() => engine.close());

    it.each(operators().map((definition) => ({ name: definition.name, definition })))("$name", async ({ definition }) => {
      expect(await compareWithReference(loaderFor(engine), definition, options)).toEqual([]);
    });
  });
}
