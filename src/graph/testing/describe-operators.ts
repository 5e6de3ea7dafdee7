/** One generated test for each operator and engine. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../engine/engine.js";
import { type OpDefinition, operators } from "../op.js";
import { type CompareOptions, compareWithReference, loaderFor } from "./compare.js";

export interface DescribeOptions extends CompareOptions {
  /** Default: all that are registered. */
  readonly definitions?: readonly OpDefinition[];
}

/** Compares every registered operator with its reference on an engine: forward and backward, all of its cases. */
export function describeOperators(
  title: string,
  create: () => Promise<Engine>,
  { definitions = operators(), ...options }: DescribeOptions = {},
): void {
  describe(title, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await create();
    });
    afterAll(() => engine.close());

    it.each(definitions.map((definition) => ({ name: definition.name, definition })))("$name", async ({ definition }) => {
      expect(await compareWithReference(loaderFor(engine), definition, options)).toEqual([]);
    });
  });
}
