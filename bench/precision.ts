/**
 * What bfloat16 costs: a model of 10 million parameters trained on the text of `npm start`, from the same seeds in both precisions,
 * and the loss of each on the whole validation text.
 */

import { corpus } from "../src/data/index.js";
import { packed } from "../src/data/packed.js";
import { createEngine, type Engine } from "../src/engine/index.js";
import { Llama } from "../src/models/index.js";
import { trainTokenizer } from "../src/tokenizer/index.js";
import { causalTask } from "../src/train/objectives/causal-lm.js";
import { Trainer } from "../src/train/trainer.js";
import type { Precision } from "./protocol.js";

/**
 * 10.0 M parameters; all six runs take 40 minutes on two cores. With half as many tokens a step, runs in float32 that differed by
 * rounding alone ended up to 0.005 apart, and those in bfloat16 0.009: too much to see a difference of 0.01.
 */
const setting = {
  vocabSize: 2048,
  model: { hiddenSize: 384, intermediateSize: 1088, numHiddenLayers: 5, numAttentionHeads: 6, tieWordEmbeddings: true },
  training: { steps: 1000, batchSize: 16, learningRate: 1e-3, warmupSteps: 50 },
  context: 64,
  seeds: [1, 2, 3],
} as const;

export interface PrecisionRow {
  readonly by: string;
  readonly precision: Precision;
  readonly seed: number;
  readonly steps: number;
  readonly parameters: number;
  /** In nats per token: the mean of the last 100 steps' batches, and of the whole validation text. */
  readonly trainingLoss: number;
  readonly validationLoss: number;
  /** Of the 1,000 steps. */
  readonly seconds: number;
}

export interface PrecisionOptions {
  readonly threads: number;
  /** The engine that has both; default OpenVINO. */
  readonly engine?: string;
  readonly steps?: number;
  readonly onProgress: (line: string) => void;
}

export async function comparePrecisions(options: PrecisionOptions): Promise<readonly PrecisionRow[]> {
  const { threads, engine: name = "openvino", steps = setting.training.steps, onProgress } = options;
  const text = await corpus("moby-dick");
  const tokenizer = await trainTokenizer(text, { model: "bpe", vocabSize: setting.vocabSize });
  const data = packed(text, tokenizer, { context: setting.context });
  const engine = await createEngine({ engine: name, device: "cpu", threads });
  const rows: PrecisionRow[] = [];
  for (const seed of setting.seeds)
    for (const precision of ["fp32", "bf16"] as const) {
      const row = await trainOnce(engine, data, precision, seed, steps);
      rows.push(row);
      onProgress(`seed ${seed}, ${precision}: validation loss ${row.validationLoss.toFixed(4)}, ${row.seconds.toFixed(0)} s`);
    }
  await engine.close();
  return rows;
}

async function trainOnce(
  engine: Engine,
  data: ReturnType<typeof packed>,
  precision: Precision,
  seed: number,
  steps: number,
): Promise<PrecisionRow> {
  const model = new Llama({ ...setting.model, vocabSize: setting.vocabSize, maxPositionEmbeddings: setting.context });
  const trainer = new Trainer(model, causalTask(model, data), { ...setting.training, steps, seed, precision, engine });
  const losses: number[] = [];
  const started = performance.now();
  while (trainer.stepsDone < steps) losses.push((await trainer.step()).loss);
  const seconds = (performance.now() - started) / 1000;
  const { loss: validationLoss } = await trainer.validate();
  await trainer.release();
  const last = losses.slice(-100);
  return {
    by: `tsumiki/${engine.name}`,
    precision,
    seed,
    steps,
    parameters: trainer.optimizer.trained.reduce((total, { parameter }) => total + parameter.shape.reduce((a, b) => a * b, 1), 0),
    trainingLoss: last.reduce((total, loss) => total + loss, 0) / last.length,
    validationLoss,
    seconds,
  };
}

/** One line a seed. */
export function precisionTable(rows: readonly PrecisionRow[]): string {
  const header = ["seed", "validation loss fp32", "bf16", "bf16 − fp32", "training loss fp32", "bf16", "seconds fp32", "bf16"];
  const seeds = [...new Set(rows.map(({ seed }) => seed))];
  const lines = seeds.map((seed) => {
    const of = (precision: Precision) => rows.find((row) => row.seed === seed && row.precision === precision) as PrecisionRow;
    const [wide, narrow] = [of("fp32"), of("bf16")];
    const difference = narrow.validationLoss - wide.validationLoss;
    return [
      String(seed),
      ...[wide.validationLoss, narrow.validationLoss].map((loss) => loss.toFixed(4)),
      `${difference < 0 ? "−" : "+"}${Math.abs(difference).toFixed(4)}`,
      ...[wide.trainingLoss, narrow.trainingLoss].map((loss) => loss.toFixed(4)),
      ...[wide.seconds, narrow.seconds].map((seconds) => seconds.toFixed(0)),
    ];
  });
  return [header, header.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
