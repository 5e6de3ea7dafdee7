/** Which precision an engine computes in: what was asked for, where it can, or what it gains from. */

import { TsumikiError } from "../errors.js";
import type { FloatDType } from "../graph/dtype.js";
import type { Precision } from "../onnx/passes/precision.js";
import { productPrecision } from "./arithmetic.js";
import type { Engine } from "./engine.js";
import { loadProduct, multiplies, type Product } from "./product.js";

/** `auto`: bf16 where the engine multiplies faster in it, else fp32. */
export type PrecisionChoice = Precision | "auto";

export const precisionChoices = ["fp32", "bf16", "auto"] as const satisfies readonly PrecisionChoice[];

/**
 * The precision that programs on an engine are told in. What it can do and gains is tried once for each engine (half a
 * second) and is remembered. Throws PRECISION where bf16 was asked for and the engine has no bfloat16 products, or would compute them in
 * float32: a run would be said to be what it is not.
 */
export async function choosePrecision(engine: Engine, choice: PrecisionChoice): Promise<Precision> {
  if (choice === "fp32") return "fp32";
  const { products, faster } = await bfloat16Of(engine);
  if (choice === "auto") return faster ? "bf16" : "fp32";
  if (products === "bfloat16") return "bf16";
  throw new TsumikiError("PRECISION", `The precision bf16 was asked for, but ${whyNot(engine, products)}`);
}

function whyNot({ name, version, device }: Engine, products: Bfloat16["products"]): string {
  if (products === "float32")
    return `this processor has no bfloat16: ${name} ${version} would multiply in float32. Choose fp32, or auto, which is bf16 where it pays.`;
  const advice =
    device === "cpu"
      ? "On a CPU OpenVINO does: install it (`pip install openvino`) and choose the engine 'openvino'. Or choose fp32, or auto."
      : "On this device choose fp32, or auto; bf16 is there on CPUs, with OpenVINO (`pip install openvino`).";
  return `${name} ${version} on ${device} does not train in it. ${advice}`;
}

/** What comes of programs that multiply in bfloat16. */
interface Bfloat16 {
  /** What products are computed in; `none` where the engine refuses them. */
  readonly products: "bfloat16" | "float32" | "none";
  readonly faster: boolean;
}

const known = new WeakMap<Engine, Promise<Bfloat16>>();

function bfloat16Of(engine: Engine): Promise<Bfloat16> {
  const outcome = known.get(engine) ?? tryBfloat16(engine);
  known.set(engine, outcome);
  return outcome;
}

async function tryBfloat16(engine: Engine): Promise<Bfloat16> {
  if (engine.device !== "cpu" || !(await multiplies(engine, "bfloat16"))) return { products: "none", faster: false };
  if ((await productPrecision(engine, "bfloat16")) === "float32") return { products: "float32", faster: false };
  return { products: "bfloat16", faster: (await speedup(engine)) > WORTH_IT };
}

/** Without the instructions bfloat16 is 0.9 times as fast, for its casts; with them 1.5 to 2 times. */
const WORTH_IT = 1.2;

const sizes = [128, 512, 1024];
const repetitions = 9;
/** From here on calling the engine does not count much. */
const longEnoughSeconds = 0.005;
/** Products that share a cast, about as in training. */
const PRODUCTS = 4;

/** How many times as fast products are in bfloat16, casts included: the median over runs in turns, whatever else the machine does. */
async function speedup(engine: Engine): Promise<number> {
  let ratio = 0;
  for (const size of sizes) {
    const dtypes: readonly FloatDType[] = ["float32", "bfloat16"];
    const products = [];
    for (const dtype of dtypes) products.push(await loadProduct(engine, size, dtype, PRODUCTS));
    const [wide, narrow] = products as [Product, Product];
    let shortest = Number.POSITIVE_INFINITY;
    const ratios: number[] = [];
    try {
      for (const product of products) await product.run(); // the first run prepares
      for (let i = 0; i < repetitions; i++) {
        const seconds = await wide.run();
        shortest = Math.min(shortest, seconds);
        ratios.push(seconds / (await narrow.run()));
      }
    } finally {
      for (const product of products) await product.release();
    }
    ratio = ratios.sort((a, b) => a - b)[repetitions >> 1] as number;
    if (shortest > longEnoughSeconds) break;
  }
  return ratio;
}
