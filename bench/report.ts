/** From what the driver measured to rows, a table and warnings. */

import { describe, type Outcome, type Skipped } from "./driver.js";
import { matmulFlops, modelFlops, tokensPerStep } from "./workloads.js";

/** One line of a result, as `--json` prints it. */
export interface Row {
  readonly by: string;
  readonly precision: "fp32" | "bf16";
  /** Which sizes: peers that cannot run `train` run `train-scaled` or `train-tiny`, and Tsumiki beside them the same. */
  readonly workload: string;
  /** Median over the repetitions, as all below. Bench `matmul`: as if a step were its matrix products alone. */
  readonly tokensPerSecond: number;
  readonly peakMemoryBytes: number;
  /** Model FLOP/s over the rate of the same library's matrix products in the same rounds. */
  readonly matmulShare: number | null;
  readonly gflops: number;
  readonly firstStepSeconds: number;
  readonly compileSeconds: number;
  /** The part of a step spent outside the engine's own `run`, where a peer can tell. */
  readonly overheadShare: number | null;
  /** Tsumiki's tokens/s over this row's, pair by pair within a round. */
  readonly tsumikiRatio: number | null;
  readonly stepSeconds: number;
  readonly lastLoss: number | null;
  /** Bench `nanogpt`: the mean over the seeds. */
  readonly validationLoss?: number;
  readonly validationLosses?: readonly number[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] as number;
  return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const rates = ({ runs }: Outcome): number[] => runs.map(({ tokens, seconds }) => tokens / seconds);

/** Median of a[i] / b[i] over the rounds that both finished. */
export function pairedRatio(a: readonly number[], b: readonly number[]): number {
  const rounds = Math.min(a.length, b.length);
  return median(Array.from({ length: rounds }, (_, i) => (a[i] as number) / (b[i] as number)));
}

function flopsPerToken({ competitor, ready }: Outcome): number {
  const { task, workload, matmulShapes } = competitor.config;
  const flops =
    task === "matmul"
      ? matmulShapes.reduce((total, shape) => total + matmulFlops(shape), 0)
      : modelFlops(workload, ready.parameters);
  return flops / tokensPerStep(workload);
}

const flopRates = (outcome: Outcome): number[] => rates(outcome).map((rate) => rate * flopsPerToken(outcome));

/** Tsumiki in Node, on one engine or another. */
const isTsumiki = (library: string): boolean => library === "tsumiki" || library === "tsumiki-openvino";

/** How many times as fast the fastest of Tsumiki's engines is, in the same precision where one was measured in it. */
function bestRatio(tsumiki: readonly Outcome[], outcome: Outcome): number | null {
  if (tsumiki.length === 0 || tsumiki.includes(outcome)) return null;
  const { precision } = outcome.competitor.config;
  const alike = tsumiki.filter(({ competitor }) => competitor.config.precision === precision);
  const candidates = alike.length > 0 ? alike : tsumiki;
  return Math.max(...candidates.map((candidate) => pairedRatio(rates(candidate), rates(outcome))));
}

/**
 * The rows of one group: of those that train, or in bench `matmul` of the matrix products. Products measured beside training
 * become its `matmulShare`, not rows.
 */
export function rowsOf(group: readonly Outcome[], show: "training" | "products"): Row[] {
  const measured = group.filter(({ runs }) => runs.length > 0);
  const shown = measured.filter(({ competitor }) => (competitor.config.task === "matmul") === (show === "products"));
  const tsumiki = shown.filter(({ competitor }) => isTsumiki(competitor.library));

  return shown.map((outcome) => {
    const { competitor, ready, runs, validations } = outcome;
    const { precision, task, workload } = competitor.config;
    const products = measured.find(
      (other) =>
        other.competitor.config.task === "matmul" &&
        other.competitor.library === competitor.library &&
        other.competitor.config.precision === precision,
    );
    const overheads = runs.flatMap(({ overheadSeconds, seconds }) =>
      overheadSeconds === undefined ? [] : [overheadSeconds / seconds],
    );
    const losses = validations.map(({ loss }) => loss);
    return {
      by: competitor.by,
      precision,
      workload: workload.name,
      tokensPerSecond: median(rates(outcome)),
      peakMemoryBytes: outcome.peakMemoryBytes,
      matmulShare: products && task !== "matmul" ? pairedRatio(flopRates(outcome), flopRates(products)) : null,
      gflops: median(flopRates(outcome)) / 1e9,
      firstStepSeconds: ready.firstStepSeconds,
      compileSeconds: ready.compileSeconds,
      overheadShare: overheads.length > 0 ? median(overheads) : null,
      tsumikiRatio: bestRatio(tsumiki, outcome),
      stepSeconds: tokensPerStep(workload) / median(rates(outcome)),
      lastLoss: runs.at(-1)?.loss ?? null,
      ...(losses.length > 0 && { validationLoss: mean(losses), validationLosses: losses }),
    };
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// For people

const significant = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString("en") : value >= 100 ? value.toFixed(0) : value.toPrecision(3);
const percent = (value: number | null): string => (value === null ? "–" : `${(value * 100).toFixed(1)} %`);
const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

/** A Markdown table, so that a result can be pasted into RESULTS.md as it is. */
export function table(rows: readonly Row[]): string {
  const nanogpt = rows.some(({ validationLoss }) => validationLoss !== undefined);
  const header = [
    "by",
    "precision",
    "workload",
    "tokens/s",
    "tsumiki ×",
    "GFLOP/s",
    "matmul share",
    "peak memory",
    "compile",
    "first step",
    "later steps",
    "overhead",
    "last loss",
    ...(nanogpt ? ["validation loss (seeds)"] : []),
  ];
  const lines = rows.map((row) => [
    row.by,
    row.precision,
    row.workload,
    significant(row.tokensPerSecond),
    row.tsumikiRatio === null ? "" : row.tsumikiRatio.toFixed(2),
    significant(row.gflops),
    percent(row.matmulShare),
    gigabytes(row.peakMemoryBytes),
    `${significant(row.compileSeconds)} s`,
    `${significant(row.firstStepSeconds)} s`,
    `${significant(row.stepSeconds)} s`,
    percent(row.overheadShare),
    row.lastLoss === null ? "" : row.lastLoss.toFixed(4),
    ...(nanogpt
      ? [`${row.validationLoss?.toFixed(4)} (${row.validationLosses?.map((loss) => loss.toFixed(4)).join(", ")})`]
      : []),
  ]);
  return [header, header.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** GFLOP/s of every matrix product, one column a library. */
export function shapeTable(group: readonly Outcome[]): string {
  const products = group.filter(({ competitor, runs }) => competitor.config.task === "matmul" && runs.length > 0);
  const shapes = products[0]?.competitor.config.matmulShapes ?? [];
  const header = [
    "product",
    "batch × m × k × n",
    "times",
    ...products.map(({ competitor }) => `${competitor.by} ${competitor.config.precision}`),
  ];
  const lines = shapes.map((shape, i) => {
    const flops = matmulFlops({ ...shape, count: 1 });
    const rate = ({ runs }: Outcome) => significant(flops / median(runs.map((run) => run.shapeSeconds?.[i] as number)) / 1e9);
    return [shape.name, `${shape.batch} × ${shape.m} × ${shape.k} × ${shape.n}`, String(shape.count), ...products.map(rate)];
  });
  return [header, header.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** The losses of competitors that do the same steps must agree; `tolerance` is relative. */
export function disagreements(group: readonly Outcome[], tolerance = 0.01): string[] {
  const fp32 = group.filter(({ competitor }) => competitor.config.task === "step" && competitor.config.precision === "fp32");
  const lossesOf = ({ competitor, warmups, runs }: Outcome) =>
    new Map([...warmups, ...runs].map(({ loss }, i) => [(i + 1) * competitor.stepsPerRepetition, loss]));
  const [first, ...others] = fp32;
  if (!first) return [];
  const expected = lossesOf(first);
  const warnings = others.flatMap((other) =>
    [...lossesOf(other)].flatMap(([step, loss]) => {
      const reference = expected.get(step);
      if (reference === undefined || loss === undefined || Math.abs(loss - reference) <= tolerance * reference) return [];
      return [
        `after ${step} steps the loss of ${describe(other.competitor)} is ${loss}, of ${describe(first.competitor)} ${reference}`,
      ];
    }),
  );
  const parameters = new Set(
    group.flatMap(({ ready, competitor }) => (competitor.config.task === "matmul" ? [] : [ready.parameters])),
  );
  if (parameters.size > 1) warnings.push(`the models differ in size: ${[...parameters].join(", ")} parameters`);
  const validated = new Set(group.flatMap(({ validations }) => validations.map(({ tokens }) => tokens)));
  if (validated.size > 1) warnings.push(`the validation texts differ: ${[...validated].join(", ")} tokens`);
  return warnings;
}

/** Bench `moe`: what a step with experts takes, times one of the dense model, pair by pair within a round. */
export function expertsTable(group: readonly Outcome[]): string {
  const lines = group
    .filter(({ competitor: { config } }) => config.workload.architecture === "llama" && config.workload.experts)
    .flatMap((experts) => {
      const dense = group.find(
        ({ competitor: { by, config } }) =>
          by === experts.competitor.by &&
          config.precision === experts.competitor.config.precision &&
          config.workload.name !== experts.competitor.config.workload.name,
      );
      if (!dense || dense.runs.length === 0 || experts.runs.length === 0) return [];
      const ratio = pairedRatio(rates(dense), rates(experts));
      return [`| ${experts.competitor.by} | ${experts.competitor.config.precision} | ${ratio.toFixed(2)} × |`];
    });
  return ["| by | precision | step with experts / dense step |", "| --- | --- | --- |", ...lines].join("\n");
}

export function skippedList(skipped: readonly Skipped[]): string {
  return skipped
    .map(({ competitor, reason, failed }) => `- ${describe(competitor)} ${failed ? "FAILED" : "skipped"}: ${reason}`)
    .join("\n");
}
