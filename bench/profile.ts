/** `npm run -s bench -- profile`: where the time of Tsumiki's own training steps goes, as ONNX Runtime measures it. */

import { createEngine, type OperatorTime, profileOperators } from "../src/engine/index.js";
import { trainingStep } from "./peers/tsumiki-step.js";
import { type LlamaWorkload, small, train } from "./workloads.js";

export interface ProfileRow extends OperatorTime {
  readonly workload: string;
  /** Of the time of all operators. */
  readonly share: number;
}

export async function profileSteps({
  threads,
  runs,
}: {
  readonly threads: number;
  readonly runs: number;
}): Promise<ProfileRow[]> {
  const rows: ProfileRow[] = [];
  for (const workload of [train, small]) rows.push(...(await profileStep(workload, threads, runs)));
  return rows;
}

async function profileStep(workload: LlamaWorkload, threads: number, runs: number): Promise<ProfileRow[]> {
  const engine = await createEngine({ engine: "onnxruntime", threads });
  const { program, nextFeeds } = trainingStep(engine, workload);
  const { graph, inputs } = await program.capture(nextFeeds());
  await engine.close();
  const times = await profileOperators(graph, inputs, { threads, runs });
  const total = times.reduce((sum, { seconds }) => sum + seconds, 0);
  return times.map((time) => ({ ...time, workload: workload.name, share: time.seconds / total }));
}

/** Operators below half a percent are one row together. */
export function profileTable(rows: readonly ProfileRow[]): string {
  const lines = ["| workload | operator | ONNX operator | calls | time | share |", "| --- | --- | --- | --- | --- | --- |"];
  for (const name of new Set(rows.map(({ workload }) => workload))) {
    const ofWorkload = rows.filter(({ workload }) => workload === name);
    const shown = ofWorkload.filter(({ share }) => share >= 0.005);
    const rest = ofWorkload.filter(({ share }) => share < 0.005);
    const sum = (key: "calls" | "seconds" | "share", of: readonly ProfileRow[]) => of.reduce((total, row) => total + row[key], 0);
    const line = (operator: string, onnxOperator: string, of: readonly ProfileRow[]) =>
      `| ${name} | ${operator} | ${onnxOperator} | ${sum("calls", of)} | ${(sum("seconds", of) * 1000).toFixed(2)} ms | ${(sum("share", of) * 100).toFixed(1)} % |`;
    for (const row of shown) lines.push(line(row.operator, row.onnxOperator, [row]));
    if (rest.length > 0) lines.push(line(`${rest.length} others`, "", rest));
    lines.push(line("all", "", ofWorkload));
  }
  return lines.join("\n");
}
