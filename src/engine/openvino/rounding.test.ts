/** How OpenVINO rounds to bfloat16, in every way that a program can be compiled. */

import { describe, expect, it } from "vitest";
import { roundTo } from "../../graph/dtype.js";
import { matmul } from "../../graph/ops/index.js";
import { namedRandom } from "../../graph/random.js";
import { Parameter } from "../../graph/variable.js";
import { compile, float32 } from "../../program/index.js";
import { whyNoBfloat16 } from "../testing/openvino.js";
import { openVino } from "./engine.js";

const SIZE = 64;
const identityValues = Float32Array.from({ length: SIZE * SIZE }, (_, i) => Number(i % (SIZE + 1) === 0));

const absent = await whyNoBfloat16();

describe.skipIf(absent !== undefined)(`rounding on OpenVINO${absent === undefined ? "" : `, ${absent}`}`, () => {
  it.each([
    { way: "sizes known only when it runs", frozen: false },
    { way: "weights that are part of the program", frozen: true },
  ])("takes the nearest bfloat16, with $way", async ({ frozen }) => {
    const { normal } = namedRandom(1, "values");
    const values = Float32Array.from({ length: SIZE * SIZE }, () => normal());
    const weight = new Parameter([SIZE, SIZE], { initializer: () => values });
    const identity = new Parameter([SIZE, SIZE], { initializer: () => identityValues });
    const engine = await openVino({ threads: 1 });
    const signature = { activations: float32("rows", SIZE), rows: float32("rows", SIZE) };
    const products = compile(
      ({ activations, rows }) => ({ fed: matmul(activations, identity), held: matmul(rows, weight) }),
      signature,
      { engine, frozen, precision: "bf16" },
    );
    const asFed = (data: Float32Array) => ({ dtype: "float32" as const, shape: [SIZE, SIZE], data });
    const { fed, held } = await products({ activations: asFed(values), rows: asFed(identityValues) });
    await engine.close();
    for (const result of [fed, held])
      for (const [i, rounded] of [...result.data].map(Number).entries()) {
        const value = values[i] as number;
        // What stays as it was is no worse.
        expect([value, roundTo("bfloat16", value)]).toContain(rounded);
      }
  });
});
