/** Tsumiki on one of its engines in Node: the training step as a user writes it, matrix products, and nanoGPT's training. */

import { readFileSync } from "node:fs";
import { packed } from "../../src/data/index.js";
import type { Engine } from "../../src/engine/engine.js";
import { GPT2 } from "../../src/models/index.js";
import { AdamW, cosineSchedule } from "../../src/optim/index.js";
import { trainTokenizer } from "../../src/tokenizer/index.js";
import { causalTask } from "../../src/train/objectives/causal-lm.js";
import { Trainer } from "../../src/train/trainer.js";
import { type Peer, type PeerConfig, type Precision, servePeer } from "../protocol.js";
import { type NanoGptWorkload, tokensPerStep } from "../workloads.js";
import { engineFor } from "./engine.js";
import { productsPeer, stepPeer } from "./tsumiki-step.js";

const versions = (engine: Engine) => ({ node: process.version, [engine.name]: engine.version });

async function nanoGptPeer(engine: Engine, workload: NanoGptWorkload, precision: Precision, textFile: string): Promise<Peer> {
  const text = readFileSync(textFile, "utf8");
  const tokenizer = await trainTokenizer(text, { model: "character" });
  const data = packed(text, tokenizer, { context: workload.context, sampling: "random" });
  let trainer = await startTraining(0);

  async function startTraining(seed: number): Promise<Trainer> {
    const { layers, hidden, heads, context, steps, warmupSteps, minimumLearningRate, batch: batchSize } = workload;
    const { learningRate, clipNorm, ...optimizerOptions } = workload.optimizer;
    const model = new GPT2({
      vocabSize: tokenizer.vocabSize,
      nEmbd: hidden,
      nLayer: layers,
      nHead: heads,
      nPositions: context,
      bias: false,
    });
    return new Trainer(model, causalTask(model, data), {
      steps,
      batchSize,
      seed,
      clipNorm,
      engine,
      precision,
      learningRate: cosineSchedule({ peak: learningRate, totalSteps: steps, warmupSteps, minimum: minimumLearningRate }),
      optimizer: new AdamW(model, optimizerOptions),
    });
  }

  const begun = performance.now();
  await trainer.step();
  return {
    ready: {
      compileSeconds: 0,
      firstStepSeconds: (performance.now() - begun) / 1000,
      parameters: trainer.optimizer.trained.reduce(
        (total, { parameter }) => total + parameter.shape.reduce((a, b) => a * b, 1),
        0,
      ),
      versions: versions(engine),
    },
    async start(seed) {
      await trainer.release();
      trainer = await startTraining(seed);
    },
    async run(count) {
      const begin = performance.now();
      let loss = 0;
      for (let i = 0; i < count; i++) ({ loss } = await trainer.step());
      return { seconds: (performance.now() - begin) / 1000, tokens: count * tokensPerStep(workload), loss };
    },
    async validate() {
      return { loss: (await trainer.validate()).loss, tokens: data.validationTokenCount };
    },
  };
}

await servePeer(async ({ task, mode, precision, threads, workload, matmulShapes, textFile }: PeerConfig) => {
  const engine = await engineFor(mode, precision, threads);
  if (workload.architecture === "nanogpt") return nanoGptPeer(engine, workload, precision, textFile as string);
  return task === "matmul"
    ? productsPeer(engine, workload, matmulShapes, versions(engine), precision)
    : stepPeer(engine, workload, versions(engine), precision);
});
