/** Matrix products as programs of their own: which floats an engine multiplies, and how fast. */

import type { FloatDType } from "../graph/dtype.js";
import type { Graph } from "../graph/graph.js";
import { input } from "../graph/leaves.js";
import { cast } from "../graph/ops/cast.js";
import { matmul } from "../graph/ops/matmul.js";
import { sum } from "../graph/ops/reduce.js";
import type { Engine } from "./engine.js";
import { modelSource } from "./model-source.js";

/**
 * Sums the product of x [size, size] with a matrix of 1 / size, so that hardly anything has to come back from a device. With
 * `times` the product is multiplied again, as often in all.
 */
function productGraph(size: number, dtype: FloatDType, times: number): Graph {
  const x = input("x", "float32", [size, size]);
  const w = input("w", "float32", [size, size]);
  const factor = cast(w, dtype);
  let product = cast(x, dtype);
  for (let i = 0; i < times; i++) product = matmul(product, factor);
  const total = sum(cast(product, "float32"));
  return {
    inputs: new Map([
      ["x", x],
      ["w", w],
    ]),
    outputs: new Map([["total", total]]),
  };
}

export interface Product {
  /** Seconds that one product took. */
  run(): Promise<number>;
  release(): Promise<void>;
}

/** The product of square matrices in `dtype`, whose operands and result are float32. */
export async function loadProduct(engine: Engine, size: number, dtype: FloatDType, times = 1): Promise<Product> {
  const model = await engine.load(modelSource(engine, productGraph(size, dtype, times)));
  const matrix = (value: number) =>
    engine.upload({ dtype: "float32", shape: [size, size], data: new Float32Array(size * size).fill(value) });
  const inputs = new Map([
    ["x", await matrix(1)],
    ["w", await matrix(1 / size)],
  ]);
  return {
    async run() {
      const started = performance.now();
      const produced = await model.run(inputs, new Map([["total", undefined]]));
      for (const buffer of produced.values()) {
        const {
          data: [total],
        } = await engine.read(buffer);
        await engine.release(buffer);
        if (!(Math.abs(Number(total) / size ** 2 - 1) < 0.01))
          throw new Error(`A product of matrices came out as ${total}, not ${size ** 2}.`);
      }
      return (performance.now() - started) / 1000;
    },
    async release() {
      await model.release();
      for (const buffer of inputs.values()) await engine.release(buffer);
    },
  };
}

/** Whether an engine multiplies matrices of `dtype` at all. */
export async function multiplies(engine: Engine, dtype: FloatDType): Promise<boolean> {
  try {
    const product = await loadProduct(engine, 8, dtype);
    try {
      await product.run();
      return true;
    } finally {
      await product.release();
    }
  } catch {
    return false; // engines say this when a model is loaded, or when it runs
  }
}

const sizes = [32, 64, 128, 256, 512, 1024, 2048];
const repetitions = 8;
const longEnoughSeconds = 0.05;

/**
 * The rate at which an engine multiplies square matrices in `dtype`, in 10⁹ floating-point operations a second: the best of
 * several runs of several sizes, up to one that takes so long that calling the engine no longer counts.
 */
export async function matmulRate(engine: Engine, dtype: FloatDType = "float32"): Promise<number> {
  let best = 0;
  for (const size of sizes) {
    const product = await loadProduct(engine, size, dtype);
    let seconds = Number.POSITIVE_INFINITY;
    try {
      for (let i = 0; i < repetitions; i++) seconds = Math.min(seconds, await product.run());
    } finally {
      await product.release();
    }
    best = Math.max(best, (2 * size ** 3) / seconds / 1e9);
    if (seconds > longEnoughSeconds) break;
  }
  return best;
}
