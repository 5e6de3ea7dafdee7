/** What an engine really computes in, by what comes out: it may take an element type and compute in another. */

import type { FloatDType } from "../graph/dtype.js";
import type { Graph } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import { add, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { matmul } from "../graph/ops/matmul.js";
import type { Tensor } from "../graph/tensor.js";
import type { Engine } from "./engine.js";
import { modelSource } from "./model-source.js";

/** Binary digits behind the leading one. */
const fractionBits: readonly (readonly [FloatDType, number])[] = [
  ["float64", 52],
  ["float32", 23],
  ["float16", 10],
  ["bfloat16", 7],
];

const MOST_BITS = 60;

/**
 * What an engine multiplies matrices of `dtype` in: the float that keeps as many digits as are kept. `undefined` where it does not
 * multiply them, or otherwise.
 */
export async function productPrecision(engine: Engine, dtype: FloatDType): Promise<FloatDType | undefined> {
  // (1 + 2⁻ⁱ) · 1 − 1 for every i: 2⁻ⁱ comes back as long as a product has that many digits.
  const [ones, parts, one] = [
    input("ones", "float32", [MOST_BITS, 1]),
    input("parts", "float32", [MOST_BITS, 1]),
    input("one", "float32", [1, 1]),
  ];
  const product = matmul(add(cast(ones, dtype), cast(parts, dtype)), cast(one, dtype));
  const rest = cast(sub(product, cast(ones, dtype)), "float32");
  const column = (data: Float32Array): HostArray => ({ dtype: "float32", shape: [data.length, 1], data });
  const powers = Float32Array.from({ length: MOST_BITS }, (_, i) => 2 ** -(i + 1));
  const feeds = { ones: column(new Float32Array(MOST_BITS).fill(1)), parts: column(powers), one: column(Float32Array.of(1)) };
  const found = await compute(engine, { ones, parts, one }, rest, feeds);
  if (!found) return undefined;
  const lost = powers.findIndex((power, i) => found.data[i] !== power);
  return fractionBits.find(([, bits]) => bits === lost)?.[0];
}

/** Whether whole numbers of 64 bits keep them all; `undefined` where the engine does not compute with int64. */
export async function computesInt64(engine: Engine): Promise<boolean | undefined> {
  const x = input("x", "int64", [1]);
  const large = 2n ** 40n;
  const found = await compute(engine, { x }, add(x, x), {
    x: { dtype: "int64", shape: [1], data: BigInt64Array.of(large) },
  });
  return found && found.data[0] === 2n * large;
}

/** One value, or `undefined` where the engine refuses: when the model is loaded, or when it runs. */
async function compute(
  engine: Engine,
  inputs: Readonly<Record<string, Tensor>>,
  output: Tensor,
  feeds: Readonly<Record<string, HostArray>>,
): Promise<HostArray | undefined> {
  const graph: Graph = { inputs: new Map(Object.entries(inputs)), outputs: new Map([["output", output]]) };
  try {
    const model = await engine.load(modelSource(engine, graph));
    try {
      const buffers = new Map<string, Awaited<ReturnType<Engine["upload"]>>>();
      for (const [name, array] of Object.entries(feeds)) buffers.set(name, await engine.upload(array));
      const produced = (await model.run(buffers, new Map([["output", undefined]]))).get("output");
      const result = produced && (await engine.read(produced));
      for (const buffer of [...buffers.values(), ...(produced ? [produced] : [])]) await engine.release(buffer);
      return result;
    } finally {
      await model.release();
    }
  } catch {
    return undefined;
  }
}
