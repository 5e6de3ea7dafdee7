/** Which precision an engine computes in: what was asked for, where it can, or what it gains from. */

import { TsumikiError } from "../errors.js";
import type { FloatDType } from "../graph/dtype.js";
import type { Precision } from "../onnx/passes/precision.js";
import type { Engine } from "./engine.js";
import { loadProduct, multiplies } from "./product.js";

/** `auto`: bf16 where the engine multiplies faster in it, else fp32. */
export type PrecisionChoice = Precision | "auto";

export const precisionChoices = ["fp32", "bf16", "auto"] as const satisfies readonly PrecisionChoice[];

/**
 * The precision that programs on an engine are told in. What it can do and gains is tried once for each engine (about a tenth
 * of a second) and remembered. Throws PRECISION where bf16 was asked for and the engine has no bfloat16 products.
 */
export async function choosePrecision(engine: Engine, choice: PrecisionChoice): Promise<Precision> {
  if (choice === "fp32") return "fp32";
  const { supported, faster } = await bfloat16Of(engine);
  if (choice === "auto") return faster ? "bf16" : "fp32";
  if (supported) return "bf16";
  throw new TsumikiError(
    "PRECISION",
    `The precision bf16 was asked for, but ${engine.name} ${engine.version} on ${engine.device} does not train in it. ` +
      (engine.device === "cpu"
        ? "On a CPU OpenVINO does: install it (`pip install openvino`) and choose the engine 'openvino'. Or choose fp32, or auto."
        : "On this device choose fp32, or auto; bf16 is there on CPUs, with OpenVINO (`pip install openvino`)."),
  );
}

interface Bfloat16 {
  readonly supported: boolean;
  readonly faster: boolean;
}

const absent: Bfloat16 = { supported: false, faster: false };
const known = new WeakMap<Engine, Promise<Bfloat16>>();

function bfloat16Of(engine: Engine): Promise<Bfloat16> {
  const outcome = known.get(engine) ?? tryBfloat16(engine);
  known.set(engine, outcome);
  return outcome;
}

async function tryBfloat16(engine: Engine): Promise<Bfloat16> {
  if (engine.device !== "cpu" || !(await multiplies(engine, "bfloat16"))) return absent;
  return { supported: true, faster: (await speedup(engine)) > WORTH_IT };
}

/** Below this the casts around products eat up what they gain. */
const WORTH_IT = 1.2;

const sizes = [128, 512, 1024, 2048];
const repetitions = 6;
/** From here on calling the engine does not count much. */
const longEnoughSeconds = 0.003;

/** How many times as fast a product is in bfloat16, its casts included: the best of a few runs of each, taken in turns. */
async function speedup(engine: Engine): Promise<number> {
  let ratio = 0;
  for (const size of sizes) {
    const dtypes: readonly FloatDType[] = ["float32", "bfloat16"];
    const products = [];
    for (const dtype of dtypes) products.push(await loadProduct(engine, size, dtype));
    const seconds = dtypes.map(() => Number.POSITIVE_INFINITY);
    try {
      for (let i = 0; i < repetitions; i++)
        for (const [k, product] of products.entries()) seconds[k] = Math.min(seconds[k] as number, await product.run());
    } finally {
      for (const product of products) await product.release();
    }
    const [wide, narrow] = seconds as [number, number];
    ratio = wide / narrow;
    if (wide > longEnoughSeconds) break;
  }
  return ratio;
}
