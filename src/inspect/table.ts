/** An inspection as a person reads it. */

import type { GeneralInspection } from "./general.js";
import type { Inspection } from "./inspect.js";
import type { ModuleParameters } from "./modules.js";

export function inspectionTable(inspection: Inspection): string {
  const { modelType, batch, context, dtype, optimizer, parameters, activeParameters, modules, flops, training, inference } =
    inspection;
  const active = activeParameters === parameters ? "" : `, of which ${whole(activeParameters)} compute each token`;
  return [
    `${modelType}: ${whole(parameters)} parameters${active}`,
    moduleTable(modules, parameters),
    `\nOperations for one token in a context of ${whole(context)}`,
    table([
      ["products with weights", scaled(flops.weightFlopsPerToken, "FLOP")],
      ["attention", scaled(flops.attentionFlopsPerToken, "FLOP")],
      ["forward", scaled(flops.forwardFlopsPerToken, "FLOP")],
      ["training", scaled(flops.trainingFlopsPerToken, "FLOP")],
      ["training, layers recomputed", scaled(flops.trainingFlopsPerTokenRecomputed, "FLOP")],
    ]),
    `\nMemory of training in float32 with ${optimizer}, batch ${batch} × ${whole(context)} tokens`,
    table([
      ["weights", bytes(training.weightBytes)],
      ["gradients", bytes(training.gradientBytes)],
      ["optimizer state", bytes(training.optimizerStateBytes)],
      ["second buffers of weights and state", bytes(training.secondBufferBytes)],
      ["activations", bytes(training.activationBytes)],
      ["activations, layers recomputed", bytes(training.activationBytesRecomputed)],
      ["together", bytes(training.totalBytes)],
      ["together, layers recomputed", bytes(training.totalBytesRecomputed)],
      ...processRows(training),
    ]),
    `\nMemory of inference in ${dtype}, batch ${batch} × ${whole(context)} tokens`,
    table([
      ["weights", bytes(inference.weightBytes)],
      ["keys and values", bytes(inference.kvCacheBytes)],
      ["one token of them", bytes(inference.kvCacheBytesPerToken)],
      ["activations of the prompt", bytes(inference.prefillActivationBytes)],
      ["together", bytes(inference.totalBytes)],
    ]),
    "\nOperations for each byte that is moved (a processor that can do more waits for memory)",
    table([
      ["reading the prompt", inference.prefillFlopsPerByte.toPrecision(3)],
      ["each token of the answer", inference.decodeFlopsPerByte.toPrecision(3)],
    ]),
  ].join("\n");
}

/** The same for a model of another kind than language models. */
export function generalInspectionTable(inspection: GeneralInspection): string {
  const { modelType, kind, parameters, modules, inputs, optimizer } = inspection;
  const given = Object.entries(inputs)
    .map(([name, shape]) => `${name} [${shape.join(", ")}]`)
    .join(", ");
  const { weightBytes, gradientBytes, optimizerStateBytes, trainingActivationBytes, inferenceActivationBytes } = inspection;
  return [
    `${modelType}, ${kind}: ${whole(parameters)} parameters`,
    moduleTable(modules, parameters),
    `\nOperations for ${given}`,
    table([
      ["forward", scaled(inspection.forwardFlops, "FLOP")],
      ["training", scaled(inspection.trainingFlops, "FLOP")],
    ]),
    `\nMemory of training in float32 with ${optimizer}`,
    table([
      ["weights", bytes(weightBytes)],
      ["gradients", bytes(gradientBytes)],
      ["optimizer state", bytes(optimizerStateBytes)],
      ["activations", bytes(trainingActivationBytes)],
      ["together", bytes(weightBytes + gradientBytes + optimizerStateBytes + trainingActivationBytes)],
    ]),
    "\nMemory of inference in float32",
    table([
      ["weights", bytes(weightBytes)],
      ["activations", bytes(inferenceActivationBytes)],
      ["together", bytes(weightBytes + inferenceActivationBytes)],
    ]),
  ].join("\n");
}

const moduleTable = (modules: readonly ModuleParameters[], parameters: number): string =>
  table(
    modules.map(({ module, instances, parameters: count }) => [
      module || "(the model itself)",
      instances === 1 ? "" : `× ${instances}`,
      whole(count),
      `${((100 * count) / parameters).toFixed(1)} %`,
    ]),
  );

/** Where an engine was named. */
function processRows({ processBytes, processBytesRecomputed }: Inspection["training"]): readonly (readonly string[])[] {
  if (processBytes === undefined || processBytesRecomputed === undefined) return [];
  return [
    ["the whole process", bytes(processBytes)],
    ["the whole process, layers recomputed", bytes(processBytesRecomputed)],
  ];
}

/** The first column to the left, the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const cell = (text: string, column: number) => {
    const width = widths[column] as number;
    return column === 0 ? text.padEnd(width) : text.padStart(width);
  };
  return rows.map((row) => `  ${row.map(cell).join("  ")}`).join("\n");
}

const whole = (count: number): string => Math.round(count).toLocaleString("en-US");

const bytes = (count: number): string => scaled(count, "B");

/** With three digits and a decimal prefix: 1.23 GB is 1.23 · 10⁹ bytes. */
function scaled(value: number, unit: string): string {
  const prefixes = ["", "k", "M", "G", "T", "P", "E"];
  const power = value < 1000 ? 0 : Math.min(prefixes.length - 1, Math.floor(Math.log10(value) / 3));
  const shown = value / 1000 ** power;
  return `${shown >= 999.5 || power === 0 ? shown.toFixed(0) : shown.toPrecision(3)} ${prefixes[power]}${unit}`;
}
