/** What the engines that are found here can really do: each is made, asked which numbers it multiplies, and how fast. */

import type { FloatDType } from "../graph/dtype.js";
import { computesInt64, productPrecision } from "./arithmetic.js";
import { matmulRate } from "./product.js";
import type { DeviceReport } from "./provider.js";
import { createEngine, detectEngines } from "./registry.js";

export interface DeviceExamination extends DeviceReport {
  /** Set when the device is present. */
  readonly threads?: number;
  /** Floats that it multiplies matrices of. */
  readonly floats?: readonly FloatDType[];
  /** Those that it takes, but multiplies in another. */
  readonly floatsInOther?: Readonly<Partial<Record<FloatDType, FloatDType>>>;
  /** Whether it computes with all 64 bits of int64; absent where it takes none. */
  readonly wideIntegers?: boolean;
  /** The best rate at which it multiplied float32 matrices, in 10⁹ floating-point operations a second. */
  readonly gigaflops?: number;
  /** The same of bfloat16 matrices, where it multiplies them. */
  readonly bfloat16Gigaflops?: number;
  /** Set when the device was found but did not work. */
  readonly problem?: string;
}

export interface EngineExamination {
  readonly engine: string;
  readonly version?: string;
  readonly devices: readonly DeviceExamination[];
  /** Set when the engine could not be loaded. */
  readonly problem?: string;
}

export interface ExamineOptions {
  readonly threads?: number;
  /** Called before each engine and device is tried. */
  readonly onProgress?: (what: string) => void;
}

/** Looks for every engine and device, and tries those that are present. Takes about a second each. */
export async function examineEngines({ threads, onProgress }: ExamineOptions = {}): Promise<readonly EngineExamination[]> {
  const examined: EngineExamination[] = [];
  for (const { engine, devices, ...report } of await detectEngines()) {
    const examinations: DeviceExamination[] = [];
    for (const device of devices) {
      if (device.present) onProgress?.(`${engine} on ${device.device}`);
      examinations.push(device.present ? { ...device, ...(await examineDevice(engine, device, threads)) } : device);
    }
    examined.push({ engine, ...report, devices: examinations });
  }
  return examined;
}

async function examineDevice(
  name: string,
  { device }: DeviceReport,
  threads: number | undefined,
): Promise<Omit<DeviceExamination, keyof DeviceReport>> {
  try {
    const engine = await createEngine({ engine: name, device, ...(threads === undefined ? {} : { threads }) });
    try {
      const floats: FloatDType[] = [];
      const floatsInOther: Partial<Record<FloatDType, FloatDType>> = {};
      for (const dtype of ["float32", "float64", "float16", "bfloat16"] as const) {
        const precision = await productPrecision(engine, dtype);
        if (precision === dtype) floats.push(dtype);
        else if (precision !== undefined) floatsInOther[dtype] = precision;
      }
      const wideIntegers = await computesInt64(engine);
      return {
        threads: engine.threads,
        floats,
        floatsInOther,
        ...(wideIntegers !== undefined && { wideIntegers }),
        gigaflops: await matmulRate(engine),
        ...(floats.includes("bfloat16") && { bfloat16Gigaflops: await matmulRate(engine, "bfloat16") }),
      };
    } finally {
      await engine.close();
    }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}
