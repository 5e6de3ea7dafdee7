/** The training step as a user writes it, and matrix products, on any of Tsumiki's engines: in Node and in a page alike. */

import { toPropertyPath } from "../../src/checkpoint/names.js";
import type { Engine } from "../../src/engine/engine.js";
import { fromNumbers } from "../../src/graph/host-array.js";
import { input, matmul } from "../../src/graph/index.js";
import { Llama } from "../../src/models/index.js";
import { withWholeAttention } from "../../src/nn/attention.js";
import { optimize, writeOnnx } from "../../src/onnx/index.js";
import { AdamW } from "../../src/optim/index.js";
import { compile, float32, int32 } from "../../src/program/index.js";
import type { Peer, Precision } from "../protocol.js";
import {
  batchOfStep,
  type LlamaWorkload,
  llamaParameters,
  type MatmulShape,
  startingValues,
  tokensPerStep,
} from "../workloads.js";
import { matmulPeer } from "./matmul-peer.js";

type Versions = Readonly<Record<string, string>>;

/** A model of the workload's size with the starting values that all peers share. */
export function makeModel(workload: LlamaWorkload): Llama {
  const { kvHeads, window, experts, wholeAttention = false } = workload;
  const model = new Llama({
    vocabSize: workload.vocabulary,
    hiddenSize: workload.hidden,
    intermediateSize: workload.intermediate,
    numHiddenLayers: workload.layers,
    numAttentionHeads: workload.heads,
    maxPositionEmbeddings: workload.context,
    ropeTheta: workload.ropeTheta,
    rmsNormEps: workload.normEpsilon,
    tieWordEmbeddings: true,
    ...(kvHeads !== undefined && { numKeyValueHeads: kvHeads }),
    ...(window !== undefined && { slidingWindow: window }),
    ...(experts && {
      experts: { ...experts, intermediateSize: workload.intermediate, normalizeWeights: true, balancing: 0.01 },
    }),
  }).initialize(0);
  if (wholeAttention) attendWhole(model);
  const parameters = model.parameters();
  for (const [i, { name, shape }] of llamaParameters(workload).entries())
    parameters
      .get(toPropertyPath(name.replace(/^model\./, "")))
      ?.write({ dtype: "float32", shape, data: startingValues(i, shape) });
  return model;
}

/** Attention whose scores exist whole, to compare blocks with. */
function attendWhole(model: Llama): void {
  for (const { selfAttn } of model.layers) {
    const forward = selfAttn.forward.bind(selfAttn);
    selfAttn.forward = (...inputs) => withWholeAttention(() => forward(...inputs));
  }
}

/** The step as a program, and the feeds of one step after the other. */
export function trainingStep(
  engine: Engine,
  workload: LlamaWorkload,
  { model = makeModel(workload), precision = "fp32" }: { readonly model?: Llama; readonly precision?: Precision } = {},
) {
  const { learningRate, clipNorm, ...optimizerOptions } = workload.optimizer;
  const optimizer = new AdamW(model, optimizerOptions);
  const program = compile(
    ({ ids, labels, learningRate }) => {
      const loss = model.loss(ids, labels);
      optimizer.update(loss, { learningRate, clipNorm });
      return { loss };
    },
    { ids: int32("batch", "seq"), labels: int32("batch", "seq"), learningRate: float32() },
    { engine, precision },
  );
  let steps = 0;
  const shape = [workload.batch, workload.context];
  const nextFeeds = () => {
    const { ids, labels } = batchOfStep(workload, steps++);
    return { ids: { dtype: "int32", shape, data: ids }, labels: { dtype: "int32", shape, data: labels }, learningRate } as const;
  };
  return { program, nextFeeds };
}

export async function stepPeer(
  engine: Engine,
  workload: LlamaWorkload,
  versions: Versions,
  precision: Precision = "fp32",
): Promise<Peer> {
  const model = makeModel(workload);
  const started = performance.now();
  const { program, nextFeeds } = trainingStep(engine, workload, { model, precision });
  const first = nextFeeds();
  await program.prepare(first);
  const compiled = performance.now();
  await program(first);
  return {
    ready: {
      compileSeconds: (compiled - started) / 1000,
      firstStepSeconds: (performance.now() - compiled) / 1000,
      parameters: [...model.parameters().values()].reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0),
      versions,
    },
    async run(count) {
      const before = program.statistics;
      const begin = performance.now();
      let loss = 0;
      for (let i = 0; i < count; i++) loss = (await program(nextFeeds())).loss.item();
      const seconds = (performance.now() - begin) / 1000;
      const engineSeconds = program.statistics.engineSeconds - before.engineSeconds;
      return { seconds, tokens: count * tokensPerStep(workload), loss, overheadSeconds: seconds - engineSeconds };
    },
  };
}

export async function productsPeer(
  engine: Engine,
  workload: LlamaWorkload,
  shapes: readonly MatmulShape[],
  versions: Versions,
  precision: Precision = "fp32",
): Promise<Peer> {
  const products = await Promise.all(shapes.map((shape) => makeProduct(engine, shape, precision)));
  return matmulPeer(workload, shapes, products, versions);
}

/** One product as a model of its own, in the form in which training uses it. Returns the seconds of one run. */
async function makeProduct(
  engine: Engine,
  { batch, m, k, n, transposeA, transposeB, warm = false }: MatmulShape,
  precision: Precision,
): Promise<() => Promise<number>> {
  const dtype = precision === "bf16" ? "bfloat16" : "float32";
  const operand = (name: string, rows: number, columns: number) =>
    input(name, dtype, batch === 1 ? [rows, columns] : [batch, rows, columns]);
  const a = transposeA ? operand("a", k, m) : operand("a", m, k);
  const b = transposeB ? operand("b", n, k) : operand("b", k, n);
  const product = matmul(a, b, { transposeA, transposeB });
  const inputs = new Map([
    ["a", a],
    ["b", b],
  ]);
  const written = { inputs, outputs: new Map([["c", product]]) };
  const graph = engine.lowering.passes.reduce((current, pass) => pass(current), optimize(written));
  const model = await engine.load({
    graph,
    onnx: () => writeOnnx(graph, { faces: engine.lowering.faces }),
    externalFiles: [],
    frozen: new Map(),
  });
  const buffers = new Map(
    await Promise.all(
      [...inputs].map(async ([name, { shape }]) => {
        const sizes = shape as readonly number[];
        const values = Float32Array.from({ length: sizes.reduce((x, y) => x * y, 1) }, (_, i) => ((i % 17) - 8) / 8);
        return [name, await engine.upload(fromNumbers(dtype, sizes, values))] as const;
      }),
    ),
  );
  const outputs = new Map([["c", await engine.allocate(dtype, product.shape as readonly number[])]]);
  return async () => {
    if (warm) await model.run(buffers, outputs);
    const begin = performance.now();
    await model.run(buffers, outputs);
    return (performance.now() - begin) / 1000;
  };
}
