/**
 * jax-js's side of the benches: the Llama-style training step and its matrix products, on its wasm device in Node.
 * One jit over forward, backward, clipping and AdamW. jax-js counts references: `x.ref` keeps x for another use.
 */

import { type Peer, type PeerConfig, servePeer } from "../protocol.js";
import {
  batchOfStep,
  type LlamaWorkload,
  llamaParameters,
  type MatmulShape,
  startingValues,
  tokensPerStep,
} from "../workloads.js";
import { matmulPeer } from "./matmul-peer.js";
import { importOptional, versionOf } from "./optional.js";
import { installWebWorker } from "./web-worker.js";

/** The part of jax-js that is used here. */
interface Arr {
  readonly ref: Arr;
  readonly shape: number[];
  add(other: Arr | number): Arr;
  sub(other: Arr | number): Arr;
  mul(other: Arr | number): Arr;
  div(other: Arr | number): Arr;
  reshape(shape: number[]): Arr;
  data(): Promise<Float32Array>;
  dispose(): void;
}

type Tree = Arr | readonly Tree[];

interface Jax {
  init(device: string): Promise<string[]>;
  jit<A extends readonly Tree[], R extends Tree>(f: (...args: A) => R): (...args: A) => R;
  valueAndGrad<A extends readonly Tree[]>(f: (...args: A) => Arr): (...args: A) => [Arr, A[0]];
  blockUntilReady(x: Tree): Promise<unknown>;
  numpy: {
    readonly int32: string;
    array(values: Float32Array | Int32Array, options?: { dtype: string }): Arr;
    matmul(a: Arr, b: Arr): Arr;
    matrixTranspose(a: Arr): Arr;
    transpose(a: Arr, axes: number[]): Arr;
    take(a: Arr, indices: Arr, axis: number): Arr;
    split(a: Arr, sections: number, axis: number): Arr[];
    concatenate(parts: Arr[], axis: number): Arr;
    negative(a: Arr): Arr;
    square(a: Arr): Arr;
    sqrt(a: Arr): Arr;
    mean(a: Arr, axis?: number, options?: { keepdims: boolean }): Arr;
    sum(a: Arr): Arr;
    minimum(a: Arr, b: Arr | number): Arr;
  };
  nn: {
    oneHot(ids: Arr, classes: number): Arr;
    silu(x: Arr): Arr;
    logSoftmax(x: Arr, axis: number): Arr;
    softmax(x: Arr, axis: number): Arr;
  };
}

/** x·Wᵀ for x [..., in] and W [out, in]. */
const linear = ({ numpy: np }: Jax, x: Arr, weight: Arr): Arr => np.matmul(x, np.matrixTranspose(weight));

function lossOf(jax: Jax, workload: LlamaWorkload) {
  const { numpy: np, nn } = jax;
  const { batch, context, hidden, heads, layers, vocabulary, ropeTheta, normEpsilon } = workload;
  const headDim = hidden / heads;
  const tokens = batch * context;

  const angles = Float32Array.from({ length: context * headDim }, (_, i) => {
    const [position, element] = [Math.floor(i / headDim), i % headDim];
    return position * ropeTheta ** ((-2 * (element % (headDim / 2))) / headDim);
  });
  const table = (f: (angle: number) => number) => np.array(angles.map(f)).reshape([context, headDim]);
  const [cos, sin] = [table(Math.cos), table(Math.sin)];
  const maskValues = Float32Array.from({ length: context ** 2 }, (_, i) => (i % context > Math.floor(i / context) ? -1e9 : 0));
  const mask = np.array(maskValues).reshape([context, context]);

  const rmsNorm = (x: Arr, weight: Arr) => {
    const meanSquare = np.mean(np.square(x.ref), -1, { keepdims: true });
    return x.div(np.sqrt(meanSquare.add(normEpsilon))).mul(weight);
  };
  /** x [batch, heads, seq, headDim] */
  const rotate = (x: Arr) => {
    const [first, second] = np.split(x.ref, 2, -1) as [Arr, Arr];
    return x.mul(cos.ref).add(np.concatenate([np.negative(second), first], -1).mul(sin.ref));
  };
  const splitHeads = (x: Arr) => np.transpose(x.reshape([batch, context, heads, headDim]), [0, 2, 1, 3]);
  const mergeHeads = (x: Arr) => np.transpose(x, [0, 2, 1, 3]).reshape([tokens, hidden]);
  // nn.dotProductAttention needs iterator helpers, which Node 20 does not have.
  const attend = (q: Arr, k: Arr, v: Arr) => {
    const scores = np.matmul(q, np.matrixTranspose(k)).mul(1 / Math.sqrt(headDim));
    return np.matmul(nn.softmax(scores.add(mask.ref), -1), v);
  };

  return (parameters: Arr[], ids: Arr, labels: Arr): Arr => {
    const unread = [...parameters];
    const next = () => unread.shift() as Arr;
    const embedding = next();
    let x = np.take(embedding.ref, ids, 0); // [tokens, hidden]
    for (let layer = 0; layer < layers; layer++) {
      const h = rmsNorm(x.ref, next());
      const q = rotate(splitHeads(linear(jax, h.ref, next())));
      const k = rotate(splitHeads(linear(jax, h.ref, next())));
      const v = splitHeads(linear(jax, h, next()));
      x = x.add(linear(jax, mergeHeads(attend(q, k, v)), next()));
      const h2 = rmsNorm(x.ref, next());
      const gated = nn.silu(linear(jax, h2.ref, next())).mul(linear(jax, h2, next()));
      x = x.add(linear(jax, gated, next()));
    }
    const logits = linear(jax, rmsNorm(x, next()), embedding);
    // The gradient of `takeAlongAxis` is a scatter, which jit refuses.
    return np.sum(nn.logSoftmax(logits, -1).mul(nn.oneHot(labels, vocabulary))).mul(-1 / tokens);
  };
}

/** (parameters, first moments, second moments, bias corrections, ids, labels) → the loss and the new state. */
function trainingStep(jax: Jax, workload: LlamaWorkload) {
  const { numpy: np } = jax;
  const { learningRate, betas, epsilon, weightDecay, clipNorm } = workload.optimizer;
  const [beta1, beta2] = betas;
  const lossAndGradients = jax.valueAndGrad(lossOf(jax, workload));

  return (parameters: Arr[], firsts: Arr[], seconds: Arr[], correction1: Arr, correction2: Arr, ids: Arr, labels: Arr) => {
    const [loss, gradients] = lossAndGradients(
      parameters.map((parameter) => parameter.ref),
      ids,
      labels,
    );
    const squares = gradients.map((gradient) => np.sum(np.square(gradient.ref)));
    const norm = np.sqrt(squares.reduce((total, square) => total.add(square)));
    const factor = np.minimum(
      np
        .array(new Float32Array([clipNorm]))
        .reshape([])
        .div(norm.add(1e-6)),
      1,
    );
    const updated = parameters.map((parameter, i) => {
      const gradient = (gradients[i] as Arr).mul(factor.ref);
      const first = (firsts[i] as Arr).mul(beta1).add(gradient.ref.mul(1 - beta1));
      const second = (seconds[i] as Arr).mul(beta2).add(np.square(gradient).mul(1 - beta2));
      const update = first.ref.div(correction1.ref).div(np.sqrt(second.ref.div(correction2.ref)).add(epsilon));
      const decay = 1 - learningRate * (parameter.shape.length >= 2 ? weightDecay : 0);
      return [parameter.mul(decay).sub(update.mul(learningRate)), first, second] as const;
    });
    for (const used of [factor, correction1, correction2]) used.dispose();
    return [loss, updated.map(([p]) => p), updated.map(([, m]) => m), updated.map(([, , v]) => v)] as [Arr, Arr[], Arr[], Arr[]];
  };
}

async function stepPeer(jax: Jax, workload: LlamaWorkload): Promise<Peer> {
  const { numpy: np } = jax;
  const [beta1, beta2] = workload.optimizer.betas;
  const shapes = llamaParameters(workload).map(({ shape }) => [...shape]);
  const zeros = () => shapes.map((shape) => np.array(new Float32Array(shape.reduce((a, b) => a * b, 1))).reshape(shape));
  let state = [shapes.map((shape, i) => np.array(startingValues(i, shape)).reshape(shape)), zeros(), zeros()] as [
    Arr[],
    Arr[],
    Arr[],
  ];
  const compiled = jax.jit(trainingStep(jax, workload));
  const scalar = (value: number) => np.array(new Float32Array([value])).reshape([]);
  let steps = 0;

  const step = async (): Promise<number> => {
    const { ids, labels } = batchOfStep(workload, steps++);
    const corrections = [scalar(1 - beta1 ** steps), scalar(1 - beta2 ** steps)] as const;
    const [loss, ...next] = compiled(
      ...state,
      ...corrections,
      np.array(ids, { dtype: np.int32 }),
      np.array(labels, { dtype: np.int32 }),
    );
    state = next;
    await jax.blockUntilReady(state);
    return (await loss.data())[0] as number;
  };

  // Tracing and compiling happen inside the first call and cannot be told from its running.
  const start = performance.now();
  await step();
  const firstStepSeconds = (performance.now() - start) / 1000;
  const parameters = shapes.reduce((total, shape) => total + shape.reduce((a, b) => a * b, 1), 0);
  return {
    ready: { compileSeconds: 0, firstStepSeconds, parameters, versions: versions() },
    async run(count) {
      const begin = performance.now();
      let loss = 0;
      for (let i = 0; i < count; i++) loss = await step();
      return { seconds: (performance.now() - begin) / 1000, tokens: count * tokensPerStep(workload), loss };
    },
  };
}

async function productsPeer(jax: Jax, workload: LlamaWorkload, shapes: readonly MatmulShape[]): Promise<Peer> {
  const { numpy: np } = jax;
  const operand = (batch: number, rows: number, columns: number, transposed: boolean) => {
    const values = Float32Array.from({ length: batch * rows * columns }, (_, i) => ((i % 17) - 8) / 8);
    return np.array(values).reshape(transposed ? [batch, columns, rows] : [batch, rows, columns]);
  };
  const products = shapes.map(({ batch, m, k, n, transposeA, transposeB }) => {
    const [a, b] = [operand(batch, m, k, transposeA), operand(batch, k, n, transposeB)];
    const straight = (x: Arr, transposed: boolean) => (transposed ? np.matrixTranspose(x) : x);
    const compiled = jax.jit((x: Arr, y: Arr) => np.matmul(straight(x, transposeA), straight(y, transposeB)));
    return async () => {
      const start = performance.now();
      const c = compiled(a.ref, b.ref);
      await jax.blockUntilReady(c);
      const seconds = (performance.now() - start) / 1000;
      c.dispose();
      return seconds;
    };
  });
  return matmulPeer(workload, shapes, products, versions());
}

const versions = () => ({ node: process.version, "jax-js": versionOf("@jax-js/jax") });

await servePeer(async ({ task, threads, workload, matmulShapes }: PeerConfig) => {
  if (workload.architecture !== "llama") throw new Error("jax-js is measured with the Llama-style step only");
  if (threads > 1) installWebWorker(threads);
  const jax = await importOptional<Jax>("@jax-js/jax", "dist/index.js");
  await jax.init("wasm");
  return task === "matmul" ? productsPeer(jax, workload, matmulShapes) : stepPeer(jax, workload);
});
