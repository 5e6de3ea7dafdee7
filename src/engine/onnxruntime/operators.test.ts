import { afterAll, beforeAll, describe, expect, it } from "vitest";
import "../../graph/index.js";
import { operators } from "../../graph/op.js";
import { compareWithReference, loaderFor } from "../../graph/testing/compare.js";
import type { Engine } from "../engine.js";
import { onnxRuntimeNode } from "./node.js";

describe("every operator", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await onnxRuntimeNode({ threads: 2 });
  });
  afterAll(() => engine.close());
  it.each(operators().map((definition) => ({ name: definition.name, definition })))("$name", async ({ definition }) => {
    expect(await compareWithReference(loaderFor(engine), definition)).toEqual([]);
  });
});
