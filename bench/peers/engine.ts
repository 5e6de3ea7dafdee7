/** One of Tsumiki's engines on the CPU, as benches need it. */

import { choosePrecision, createEngine, type Engine } from "../../src/engine/index.js";
import { TsumikiError } from "../../src/errors.js";
import { PeerAbsent, type Precision } from "../protocol.js";

const absences = ["ENGINE_ABSENT", "PRECISION"];

/** Throws PeerAbsent where the engine is not installed, or has no such precision on this processor. */
export async function engineFor(name: string, precision: Precision, threads: number): Promise<Engine> {
  let engine: Engine | undefined;
  try {
    engine = await createEngine({ engine: name, device: "cpu", threads });
    await choosePrecision(engine, precision);
    return engine;
  } catch (error) {
    await engine?.close();
    if (error instanceof TsumikiError && absences.includes(error.code)) throw new PeerAbsent(error.message);
    throw error;
  }
}
