/**
 * The training of `npm start` on each engine, from the same seeds: how long it takes and what it comes to. Each run is made as the
 * command makes it, from the recipe to the last validation; only what the model says on the way is left out.
 */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunEngine } from "../src/runs/engines.node.js";
import { runTraining } from "../src/runs/index.js";
import { median } from "./report.js";

const engines = ["onnxruntime", "openvino"] as const;
type EngineName = (typeof engines)[number];

export interface StartRow {
  readonly by: string;
  /** What `auto` comes to: bf16 where the engine gains by it. */
  readonly precision: string;
  readonly seed: number;
  /** Of the training, validations and checkpoints included. */
  readonly seconds: number;
  /** Nats per token of the whole validation text. */
  readonly validationLoss: number;
  readonly bitsPerByte: number;
}

export interface StartOptions {
  readonly threads: number;
  /** So many runs on each engine, from seed 0 (that of `npm start`) on. */
  readonly seeds: number;
  readonly only?: readonly string[] | undefined;
  /** Default: the recipe's. */
  readonly steps?: number;
  readonly onProgress: (line: string) => void;
}

export async function measureStart({ threads, seeds, only, steps, onProgress }: StartOptions): Promise<readonly StartRow[]> {
  const rows: StartRow[] = [];
  const chosen = engines.filter((engine) => !only || only.includes(`tsumiki/${engine}`));
  for (let seed = 0; seed < seeds; seed++)
    // Whatever the machine does in between, each engine is first as often as the other.
    for (const engine of seed % 2 === 0 ? chosen : chosen.toReversed()) {
      const row = await trainOnce(engine, { threads, seed, steps });
      rows.push(row);
      onProgress(`seed ${seed}, ${row.by} in ${row.precision}: ${row.validationLoss.toFixed(4)}, ${row.seconds.toFixed(0)} s`);
    }
  return rows;
}

interface RunOptions {
  readonly threads: number;
  readonly seed: number;
  readonly steps: number | undefined;
}

async function trainOnce(engine: EngineName, { threads, seed, steps }: RunOptions): Promise<StartRow> {
  const directory = await mkdtemp(join(tmpdir(), "tsumiki-start-"));
  try {
    const { validation, seconds } = await runTraining(
      { preset: "pocket", training: { seed, ...(steps !== undefined && { steps }) }, engine: { name: engine, threads } },
      { directory: join(directory, "run") },
    );
    if (!validation) throw new Error("The run has no validation.");
    const [{ precision }] = JSON.parse(await readFile(join(directory, "run/engines.json"), "utf8")) as [RunEngine];
    const { loss: validationLoss, metrics } = validation;
    return { by: `tsumiki/${engine}`, precision, seed, seconds, validationLoss, bitsPerByte: metrics.bitsPerByte ?? Number.NaN };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** One line a run, and what the engines differ in. */
export function startTable(rows: readonly StartRow[]): string {
  const lines = rows.map(
    ({ by, precision, seed, seconds, validationLoss, bitsPerByte }) =>
      `| ${seed} | ${by} | ${precision} | ${seconds.toFixed(0)} s | ${validationLoss.toFixed(4)} | ${bitsPerByte.toFixed(3)} |`,
  );
  const of = (by: string) => rows.filter((row) => row.by === by);
  const pairs = of("tsumiki/openvino").flatMap((openVino) => {
    const other = of("tsumiki/onnxruntime").find(({ seed }) => seed === openVino.seed);
    return other ? [{ openVino, other }] : [];
  });
  const header = "| seed | by | precision | training | validation loss | bits per byte |\n| --- | --- | --- | --- | --- | --- |";
  const table = [header, ...lines].join("\n");
  if (pairs.length === 0) return table;
  const faster = median(pairs.map(({ openVino, other }) => other.seconds / openVino.seconds));
  const differences = pairs.map(({ openVino, other }) => openVino.validationLoss - other.validationLoss);
  const mean = differences.reduce((total, difference) => total + difference, 0) / differences.length;
  const signed = (difference: number) => `${difference < 0 ? "−" : "+"}${Math.abs(difference).toFixed(4)}`;
  return `${table}\n\nOpenVINO is ${faster.toFixed(2)} × as fast; its loss differs by ${differences.map(signed).join(", ")}, ${signed(mean)} in the mean.`;
}
