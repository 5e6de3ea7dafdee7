/** `npm run -s bench -- profile`: where the time of Tsumiki's own training steps goes, as the engines measure it themselves. */

import { type OperatorTime, profileOperators } from "../src/engine/index.js";
import { engineFor } from "./peers/engine.js";
import { trainingStep } from "./peers/tsumiki-step.js";
import { PeerAbsent, type Precision } from "./protocol.js";
import { type LlamaWorkload, pocket, small, train } from "./workloads.js";

export interface ProfileRow extends OperatorTime {
  readonly by: string;
  readonly precision: Precision;
  readonly workload: string;
  /** Of the time of all operators. */
  readonly share: number;
}

export interface ProfileStepsOptions {
  readonly threads: number;
  readonly runs: number;
  readonly precisions: readonly Precision[];
  /** `tsumiki/onnxruntime`, `tsumiki/openvino`; `undefined` is both. */
  readonly only: readonly string[] | undefined;
}

const engines = ["onnxruntime", "openvino"] as const;
type EngineName = (typeof engines)[number];

/** An engine that is not installed has no rows, nor a precision that it does not have. */
export async function profileSteps({ threads, runs, precisions, only }: ProfileStepsOptions): Promise<ProfileRow[]> {
  const rows: ProfileRow[] = [];
  for (const workload of [train, pocket, small])
    for (const engine of engines)
      for (const precision of precisions) {
        if (only && !only.includes(`tsumiki/${engine}`)) continue;
        rows.push(...(await profileStep(workload, { engine, precision, threads, runs })));
      }
  return rows;
}

interface StepOptions {
  readonly engine: EngineName;
  readonly precision: Precision;
  readonly threads: number;
  readonly runs: number;
}

async function profileStep(
  workload: LlamaWorkload,
  { engine: name, precision, threads, runs }: StepOptions,
): Promise<ProfileRow[]> {
  const engine = await engineFor(name, precision, threads).catch((error: unknown) => {
    if (error instanceof PeerAbsent) return undefined;
    throw error;
  });
  if (!engine) return [];
  const { program, nextFeeds } = trainingStep(engine, workload, { precision });
  const { graph, inputs } = await program.capture(nextFeeds());
  await engine.close();
  const times = await profileOperators(graph, inputs, { engine: name, threads, runs });
  const total = times.reduce((sum, { seconds }) => sum + seconds, 0);
  return times.map((time) => ({
    ...time,
    by: `tsumiki/${name}`,
    precision,
    workload: workload.name,
    share: time.seconds / total,
  }));
}

/** Operators below half a percent are one row together. */
export function profileTable(rows: readonly ProfileRow[]): string {
  const lines = ["| by | precision | workload | operator | kernel | calls | time | share |", `|${" --- |".repeat(8)}`];
  const stepOf = ({ by, precision, workload }: ProfileRow) => `${by} | ${precision} | ${workload}`;
  for (const step of new Set(rows.map(stepOf))) {
    const ofStep = rows.filter((row) => stepOf(row) === step);
    const shown = ofStep.filter(({ share }) => share >= 0.005);
    const rest = ofStep.filter(({ share }) => share < 0.005);
    const sum = (key: "calls" | "seconds" | "share", of: readonly ProfileRow[]) => of.reduce((total, row) => total + row[key], 0);
    const line = (operator: string, kernel: string, of: readonly ProfileRow[]) =>
      `| ${step} | ${operator} | ${kernel} | ${sum("calls", of)} | ${(sum("seconds", of) * 1000).toFixed(2)} ms | ${(sum("share", of) * 100).toFixed(1)} % |`;
    for (const row of shown) lines.push(line(row.operator, row.kernel, [row]));
    if (rest.length > 0) lines.push(line(`${rest.length} others`, "", rest));
    lines.push(line("all", "", ofStep));
  }
  return lines.join("\n");
}
