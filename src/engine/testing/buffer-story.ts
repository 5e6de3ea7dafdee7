/** What becomes of buffers in a few runs; the same on every engine. Called in pages too. */

import { input } from "../../graph/leaves.js";
import { add, cast, equal, mul } from "../../graph/ops/index.js";
import type { EngineBuffer } from "../engine.js";
import { modelSource } from "../model-source.js";
import { createEngine, type EngineOptions } from "../registry.js";
import { float32, graphOf } from "./graphs.js";

export interface BufferStory {
  readonly device: string;
  /** Whether handles that were given for outputs came back. */
  readonly sameHandles: boolean;
  /** What was read after each chapter, as numbers. */
  readonly values: readonly (readonly number[])[];
}

/** State that goes from run to run through two buffers, is overwritten in between, and outputs of several element types. */
export async function tellBufferStory(options: EngineOptions): Promise<BufferStory> {
  const engine = await createEngine(options);
  try {
    const state = input("state", "float32", [4]);
    const step = input("step", "int32", [1]);
    const graph = graphOf(
      { state, step },
      {
        next: add(mul(state, 2), cast(step, "float32")),
        count: cast(add(step, 1), "int64"),
        small: cast(step, "int8"),
        even: equal(step, 2),
      },
    );
    const model = await engine.load(modelSource(engine, graph));
    const values: number[][] = [];
    const note = async (buffer: EngineBuffer): Promise<void> => {
      values.push(Array.from((await engine.read(buffer)).data as ArrayLike<number | bigint>, Number));
    };
    let current = await engine.upload(float32([4], [1, 2, 3, 4]));
    let spare = await engine.allocate("float32", [4]);
    const count = await engine.upload({ dtype: "int32", shape: [1], data: Int32Array.of(0) });
    let sameHandles = true;
    for (let i = 1; i <= 3; i++) {
      await engine.write(count, { dtype: "int32", shape: [1], data: Int32Array.of(i) });
      const outputs = new Map([
        ["next", spare],
        ["count", undefined],
        ["small", undefined],
        ["even", undefined],
      ]);
      const produced = await model.run(
        new Map([
          ["state", current],
          ["step", count],
        ]),
        outputs,
      );
      sameHandles &&= produced.get("next") === spare;
      for (const [name, buffer] of produced) {
        await note(buffer);
        if (name !== "next") await engine.release(buffer);
      }
      await note(current); // inputs stay as they were
      [current, spare] = [spare, current];
      if (i === 2) await engine.write(current, float32([4], [-1, 0, 0.5, 1e6]));
    }
    await engine.release(current);
    await model.release();
    return { device: engine.device, sameHandles, values };
  } finally {
    await engine.close();
  }
}
