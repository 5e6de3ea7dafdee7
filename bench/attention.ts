/**
 * Bench `attention`: what longer contexts cost with full, grouped-query and sliding-window attention, beside what FLOPs and bytes
 * predict. Each step and its matrix products are measured side by side, in processes of their own.
 */

import { totalmem } from "node:os";
import { drive, type Outcome, type Skipped } from "./driver.js";
import { type CellCosts, cellCosts, stepProducts } from "./predict.js";
import type { Precision } from "./protocol.js";
import { median, pairedRatio } from "./report.js";
import { attentionWorkloads, type LlamaWorkload } from "./workloads.js";

/** The cell of full attention at the shortest context gives the one constant of each table; all others are predicted. */
const calibrationCell = "full-512";
/** Cells that need more of the machine's memory are left out: their products are measured beside them. */
const MOST_MEMORY = 0.6;

export interface AttentionRow {
  readonly by: string;
  readonly precision: Precision;
  readonly workload: string;
  /** Of the matrix products of a step, forward and backward, with what is computed again. */
  readonly productFlops: number;
  /** Read and written by everything else. */
  readonly otherBytes: number;
  readonly stepSeconds: number;
  /** Predicted over measured, the median of the rounds. */
  readonly predictedStepRatio: number;
  readonly peakMemoryBytes: number;
  readonly predictedPeakMemoryBytes: number;
}

export interface AttentionResult {
  readonly rows: readonly AttentionRow[];
  readonly skipped: readonly Skipped[];
  readonly versions: Readonly<Record<string, string>>;
}

interface Options {
  readonly threads: number;
  readonly rounds: number;
  readonly precisions: readonly Precision[];
  readonly only?: readonly string[] | undefined;
  /** Names of workloads. Default: all. */
  readonly cells?: readonly string[] | undefined;
  readonly onProgress: (line: string) => void;
}

/**
 * The workloads of these names, and the one that the others are predicted from.
 *
 * @throws Error that lists the names that there are
 */
export function chosenWorkloads(cells?: readonly string[]): readonly LlamaWorkload[] {
  if (!cells) return attentionWorkloads;
  const names = attentionWorkloads.map(({ name }) => name);
  const unknown = cells.filter((cell) => !names.includes(cell));
  if (unknown.length > 0) throw new Error(`--cells names ${unknown.join(", ")}; there are ${names.join(", ")}.`);
  return attentionWorkloads.filter(({ name }) => name === calibrationCell || cells.includes(name));
}

interface Cell {
  readonly by: string;
  readonly precision: Precision;
  readonly workload: LlamaWorkload;
  readonly costs: CellCosts;
  /** Of each round. */
  readonly steps: readonly number[];
  readonly products: readonly number[];
  readonly peakMemoryBytes: number;
}

export async function measureAttention({
  threads,
  rounds,
  precisions,
  only,
  cells: chosen,
  onProgress,
}: Options): Promise<AttentionResult> {
  const cells: Cell[] = [];
  const skipped: Skipped[] = [];
  const versions: Record<string, string> = {};
  const engines = [
    { mode: "onnxruntime" as const, precision: "fp32" as const },
    ...precisions.map((precision) => ({ mode: "openvino" as const, precision })),
  ].filter(({ mode }) => !only || only.includes(`tsumiki/${mode}`));
  // One engine after the other: long contexts take half of the machine's memory.
  for (const workload of chosenWorkloads(chosen))
    for (const { mode, precision } of engines) {
      const by = `tsumiki/${mode}`;
      const costs = cellCosts(workload, mode);
      if (costs.memoryBytes > MOST_MEMORY * totalmem()) {
        onProgress(`${by} ${workload.name}: left out, it needs ${gigabytes(costs.memoryBytes)}`);
        continue;
      }
      const competitors = (["step", "matmul"] as const).map((task) => ({
        ...{ by, library: mode, script: "tsumiki.ts", stepsPerRepetition: 1 },
        config: { task, mode, precision, threads, workload, matmulShapes: task === "matmul" ? stepProducts(workload) : [] },
      }));
      const result = await drive(competitors, { rounds, warmups: 0, onProgress });
      skipped.push(...result.skipped);
      for (const { ready } of result.outcomes) Object.assign(versions, ready.versions);
      const [step, products] = competitors.map((one) => result.outcomes.find(({ competitor }) => competitor === one));
      if (step && products)
        cells.push({
          ...{ by, precision, workload, costs, peakMemoryBytes: step.peakMemoryBytes },
          ...{ steps: seconds(step), products: seconds(products) },
        });
    }
  return { rows: predicted(cells), skipped, versions };
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
const seconds = ({ runs }: Outcome): number[] => runs.map((run) => run.seconds);

/**
 * Time: matrix products at the rate that the same products have in the same round, and bytes of everything else at a rate that the
 * first cell gives. Memory: what is counted, and what the first cell has beyond that.
 */
export function predicted(cells: readonly Cell[]): AttentionRow[] {
  return cells.map((cell) => {
    const first = cells.find(
      ({ by, precision, workload }) => by === cell.by && precision === cell.precision && workload.name === calibrationCell,
    );
    const secondsPerByte = first
      ? median(first.steps.map((step, i) => Math.max(0, step - (first.products[i] as number)) / first.costs.otherBytes))
      : 0;
    const uncounted = first ? first.peakMemoryBytes - first.costs.memoryBytes : 0;
    const { costs, products, steps } = cell;
    return {
      ...{ by: cell.by, precision: cell.precision, workload: cell.workload.name },
      ...{ productFlops: costs.productFlops, otherBytes: costs.otherBytes },
      stepSeconds: median(steps),
      predictedStepRatio: pairedRatio(
        products.map((product) => product + costs.otherBytes * secondsPerByte),
        steps,
      ),
      peakMemoryBytes: cell.peakMemoryBytes,
      predictedPeakMemoryBytes: costs.memoryBytes + uncounted,
    };
  });
}

export function attentionTable({ rows, skipped, versions }: AttentionResult): string {
  const header = [
    "by",
    "precision",
    "attention, context",
    "products",
    "other bytes",
    "step",
    "predicted",
    "peak memory",
    "predicted",
  ];
  const off = (ratio: number, isFirst: boolean) =>
    isFirst ? "(gives the constant)" : `${ratio < 1 ? "−" : "+"}${(Math.abs(ratio - 1) * 100).toFixed(0)} %`;
  const lines = rows.map((row) => {
    const isFirst = row.workload === calibrationCell;
    return [
      row.by,
      row.precision,
      row.workload,
      `${(row.productFlops / 1e12).toFixed(2)} TFLOP`,
      `${(row.otherBytes / 1e9).toFixed(1)} GB`,
      `${row.stepSeconds.toFixed(2)} s`,
      off(row.predictedStepRatio, isFirst),
      gigabytes(row.peakMemoryBytes),
      off(row.predictedPeakMemoryBytes / row.peakMemoryBytes, isFirst),
    ];
  });
  return [
    markdown([header, header.map(() => "---"), ...lines]),
    savingTable(rows),
    `Versions: ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}.`,
    ...skipped.map(({ competitor, reason }) => `Not measured: ${competitor.by} ${competitor.config.workload.name}: ${reason}`),
  ]
    .filter(Boolean)
    .join("\n\n");
}

/** Each way to attend over whole matrices of scores at the same context: time and memory. */
function savingTable(rows: readonly AttentionRow[]): string {
  const header = ["by", "precision", "attention, context", "of the time of whole attention", "of its memory"];
  const lines = rows.flatMap((row) => {
    const [variant, context] = row.workload.split(/-(?=\d+$)/);
    const whole = rows.find(
      ({ by, precision, workload }) => by === row.by && precision === row.precision && workload === `whole-${context}`,
    );
    if (!whole || variant === "whole") return [];
    const shares = [row.stepSeconds / whole.stepSeconds, row.peakMemoryBytes / whole.peakMemoryBytes];
    return [[row.by, row.precision, row.workload, ...shares.map((share) => share.toFixed(2))]];
  });
  return lines.length > 0 ? markdown([header, header.map(() => "---"), ...lines]) : "";
}

const markdown = (lines: readonly (readonly string[])[]): string => lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
