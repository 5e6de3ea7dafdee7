/** `engines.json`: what a run was computed on. Losses are the same, bit for bit, as long as nothing of this changes. */

import * as z from "zod";
import type { Engine } from "../engine/engine.js";
import { TsumikiError } from "../errors.js";
import type { Precision } from "../onnx/passes/precision.js";
import { writeJsonFile } from "./json-file.node.js";
import type { Recipe } from "./recipe.js";

const runEngineSchema = z.object({
  /** Training steps that were done before. */
  fromStep: z.int().nonnegative(),
  /** `onnxruntime-node`, `openvino`, ... */
  engine: z.string(),
  device: z.string(),
  version: z.string(),
  threads: z.int().positive(),
  /** What products of matrices were computed in. */
  precision: z.enum(["fp32", "bf16"] satisfies readonly Precision[]),
});

/** What a run was computed on, from a step on. */
export type RunEngine = z.infer<typeof runEngineSchema>;

export const runEnginesSchema: z.ZodType<RunEngine[]> = z.array(runEngineSchema);

export const describeRunEngine = ({ engine, version, device, precision }: RunEngine): string =>
  `${engine} ${version} on ${device} in ${precision}`;

export const runEngineOf = (fromStep: number, { name, device, version, threads }: Engine, precision: Precision): RunEngine => ({
  ...{ fromStep, engine: name, device, version, threads, precision },
});

/** The recipe's choice, where whatever it leaves open stays as it was. */
export function engineAsBefore(chosen: Recipe["engine"], before: RunEngine): Recipe["engine"] {
  const { name, device, precision } = chosen;
  return {
    ...chosen,
    name: name === "auto" ? before.engine : name,
    // The device of one engine says nothing of another's.
    device: device === "auto" && (name === "auto" || name === before.engine) ? (before.device as typeof device) : device,
    precision: precision === "auto" ? before.precision : precision,
  };
}

/**
 * What to tell of a change of engine, device, precision or version; nothing where there is none. Throws CONFIG where the change is
 * more than of the version and was not allowed.
 */
export function checkEngineChange(before: RunEngine, now: RunEngine, allowed: boolean): string | undefined {
  const same = before.engine === now.engine && before.device === now.device && before.precision === now.precision;
  if (same && before.version === now.version) return undefined;
  const change = `This run was computed on ${describeRunEngine(before)} so far; from step ${now.fromStep + 1} on it is on ${describeRunEngine(now)}.`;
  if (same || allowed) return change;
  throw new TsumikiError(
    "CONFIG",
    `The run was computed on ${describeRunEngine(before)} so far, and would go on on ${describeRunEngine(now)}: its losses would ` +
      "not be those of a run that was never stopped. Resume it as before, or allow the change: --allow-engine-change " +
      "(`allowEngineChange` of runTraining).",
  );
}

/** Adds what the run is computed on after `now.fromStep` steps; what was planned for later steps goes. */
export async function recordEngine(path: string, entries: readonly RunEngine[], now: RunEngine): Promise<void> {
  const { fromStep: _, ...what } = now;
  const earlier = entries.filter(({ fromStep }) => fromStep < now.fromStep);
  const { fromStep, ...last } = earlier.at(-1) ?? now;
  const unchanged = fromStep < now.fromStep && JSON.stringify(last) === JSON.stringify(what);
  await writeJsonFile(path, unchanged ? earlier : [...earlier, now]);
}
