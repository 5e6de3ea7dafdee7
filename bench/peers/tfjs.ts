/**
 * TensorFlow.js's side of the benches: the Llama-style training step and its matrix products, on its cpu (plain JavaScript)
 * or wasm backend in Node. Where a backend lacks a kernel or a gradient, the same is composed of those that it has.
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
import { requireOptional, versionOf } from "./optional.js";

/** The part of TensorFlow.js that is used here. */
interface Tensor {
  readonly shape: number[];
  add(other: Tensor | number): Tensor;
  sub(other: Tensor | number): Tensor;
  mul(other: Tensor | number): Tensor;
  div(other: Tensor | number): Tensor;
  reshape(shape: number[]): Tensor;
  transpose(axes: number[]): Tensor;
  square(): Tensor;
  sqrt(): Tensor;
  rsqrt(): Tensor;
  sigmoid(): Tensor;
  neg(): Tensor;
  exp(): Tensor;
  log(): Tensor;
  sum(axis?: number, keepDims?: boolean): Tensor;
  mean(axis?: number, keepDims?: boolean): Tensor;
  max(axis?: number, keepDims?: boolean): Tensor;
  data(): Promise<Float32Array>;
  dataSync(): Float32Array;
  dispose(): void;
}

interface Variable extends Tensor {
  assign(value: Tensor): void;
}

interface TensorFlow {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(values: Float32Array | Int32Array, shape: number[], dtype?: "float32" | "int32"): Tensor;
  zeros(shape: number[]): Tensor;
  scalar(value: number): Tensor;
  variable(value: Tensor): Variable;
  tidy<T>(f: () => T): T;
  matMul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor;
  gather(a: Tensor, indices: Tensor): Tensor;
  oneHot(indices: Tensor, depth: number): Tensor;
  softmax(x: Tensor): Tensor;
  split(x: Tensor, parts: number, axis: number): Tensor[];
  concat(parts: Tensor[], axis: number): Tensor;
  addN(parts: Tensor[]): Tensor;
  minimum(a: Tensor, b: Tensor): Tensor;
  cast(x: Tensor, dtype: "float32"): Tensor;
  customGrad<Inputs extends readonly Tensor[]>(
    f: (...inputs: [...Inputs, Save]) => CustomGradient,
  ): (...inputs: Inputs) => Tensor;
  valueAndGrads(f: (...args: Tensor[]) => Tensor): (args: Tensor[]) => { value: Tensor; grads: Tensor[] };
}

type Save = (tensors: Tensor[]) => void;
type CustomGradient = { value: Tensor; gradFunc: (dy: Tensor, saved: Tensor[]) => Tensor | Tensor[] };

type Backend = "cpu" | "wasm";
type Product = (a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean) => Tensor;

/**
 * Products of two matrices at the backend's best, with their gradient. The wasm backend is fast (XNNPACK) for plain matrices only: a
 * transposed operand costs a factor of 10 to 60 and a batch of matrices one of 10, so operands are transposed beforehand, and
 * attention computes head by head.
 */
function matrixProduct(tf: TensorFlow, backend: Backend): Product {
  if (backend === "cpu") return (a, b, transposeA, transposeB) => tf.matMul(a, b, transposeA, transposeB);

  const compute: Product = (a, b, transposeA = false, transposeB = false) =>
    tf.matMul(transposeA ? a.transpose([1, 0]) : a, transposeB ? b.transpose([1, 0]) : b);
  return (a, b, transposeA = false, transposeB = false) =>
    tf.customGrad<[Tensor, Tensor]>((x, y, save) => {
      save([x, y]);
      const gradFunc = (dy: Tensor, [x, y]: Tensor[]) => [
        transposeA ? compute(y as Tensor, dy, transposeB, true) : compute(dy, y as Tensor, false, !transposeB),
        transposeB ? compute(dy, x as Tensor, true, transposeA) : compute(x as Tensor, dy, !transposeA, false),
      ];
      return { value: compute(x, y, transposeA, transposeB), gradFunc };
    })(a, b);
}

function lossOf(tf: TensorFlow, product: Product, workload: LlamaWorkload) {
  const { batch, context, hidden, heads, layers, vocabulary, ropeTheta, normEpsilon } = workload;
  const headDim = hidden / heads;
  const tokens = batch * context;

  const angles = Float32Array.from({ length: context * headDim }, (_, i) => {
    const [position, element] = [Math.floor(i / headDim), i % headDim];
    return position * ropeTheta ** ((-2 * (element % (headDim / 2))) / headDim);
  });
  const cos = tf.tensor(angles.map(Math.cos), [context, 1, headDim]);
  const sin = tf.tensor(angles.map(Math.sin), [context, 1, headDim]);
  const maskValues = Float32Array.from({ length: context ** 2 }, (_, i) => (i % context > Math.floor(i / context) ? -1e9 : 0));
  const mask = tf.tensor(maskValues, [context, context]);

  /** x·Wᵀ for x [tokens, in] and W [out, in] */
  const linear = (x: Tensor, weight: Tensor) => product(x, weight, false, true);
  const rmsNorm = (x: Tensor, weight: Tensor) => x.mul(x.square().mean(-1, true).add(normEpsilon).rsqrt()).mul(weight);
  /** x [tokens, hidden] */
  const rotate = (x: Tensor) => {
    const byHead = x.reshape([batch, context, heads, headDim]);
    const [first, second] = tf.split(byHead, 2, 3) as [Tensor, Tensor];
    const rotated = byHead.mul(cos).add(tf.concat([second.neg(), first], 3).mul(sin));
    return rotated.reshape([tokens, hidden]);
  };
  // Splitting into one part has no gradient in tfjs.
  const split = (x: Tensor, parts: number, axis: number) => (parts === 1 ? [x] : tf.split(x, parts, axis));
  const join = (parts: Tensor[], axis: number) => (parts.length === 1 ? (parts[0] as Tensor) : tf.concat(parts, axis));
  /** x [tokens, hidden] → for every sequence its heads, each [context, headDim] */
  const splitHeads = (x: Tensor) => split(x, batch, 0).map((sequence) => split(sequence, heads, 1));
  const attendHead = (q: Tensor, k: Tensor, v: Tensor) =>
    product(
      tf.softmax(
        product(q, k, false, true)
          .mul(1 / Math.sqrt(headDim))
          .add(mask),
      ),
      v,
    );
  const attend = (q: Tensor, k: Tensor, v: Tensor) => {
    const [queries, keys, values] = [splitHeads(q), splitHeads(k), splitHeads(v)];
    const sequences = queries.map((ofSequence, i) => {
      const outputs = ofSequence.map((query, head) => attendHead(query, keys[i]?.[head] as Tensor, values[i]?.[head] as Tensor));
      return join(outputs, 1);
    });
    return join(sequences, 0);
  };
  const silu = (x: Tensor) => x.mul(x.sigmoid());

  return (ids: Tensor, labels: Tensor) => {
    // The gradient of gather is unsortedSegmentSum, which the wasm backend lacks; a product with one-hot rows is the same.
    const embed = tf.customGrad<[Tensor]>((embedding) => ({
      value: tf.gather(embedding, ids),
      gradFunc: (dy) => product(tf.cast(tf.oneHot(ids, vocabulary), "float32"), dy, true, false),
    }));
    // The gradient of the cross-entropy written out: softmax − one-hot, in place of a long chain through logarithms.
    const crossEntropy = tf.customGrad<[Tensor]>((logits, save) => {
      const targets = tf.cast(tf.oneHot(labels, vocabulary), "float32");
      const highest = logits.max(-1, true);
      const shifted = logits.sub(highest);
      const logTotal = shifted.exp().sum(-1).log();
      const value = logTotal.sub(shifted.mul(targets).sum(-1)).mean();
      save([logits, targets]);
      return {
        value,
        gradFunc: (dy, [x, y]) =>
          tf
            .softmax(x as Tensor)
            .sub(y as Tensor)
            .mul(dy.div(tokens)),
      };
    });

    return (...parameters: Tensor[]): Tensor => {
      const unread = [...parameters];
      const next = () => unread.shift() as Tensor;
      const embedding = next();
      let x = embed(embedding);
      for (let layer = 0; layer < layers; layer++) {
        const h = rmsNorm(x, next());
        const q = rotate(linear(h, next()));
        const k = rotate(linear(h, next()));
        const v = linear(h, next());
        x = x.add(linear(attend(q, k, v), next()));
        const h2 = rmsNorm(x, next());
        const gated = silu(linear(h2, next())).mul(linear(h2, next()));
        x = x.add(linear(gated, next()));
      }
      return crossEntropy(linear(rmsNorm(x, next()), embedding));
    };
  };
}

async function stepPeer(tf: TensorFlow, product: Product, workload: LlamaWorkload): Promise<Peer> {
  const { learningRate, betas, epsilon, weightDecay, clipNorm } = workload.optimizer;
  const [beta1, beta2] = betas;
  const { batch, context } = workload;
  const shapes = llamaParameters(workload).map(({ shape }) => [...shape]);
  const parameters = shapes.map((shape, i) => tf.variable(tf.tensor(startingValues(i, shape), shape)));
  const firsts = shapes.map((shape) => tf.variable(tf.zeros(shape)));
  const seconds = shapes.map((shape) => tf.variable(tf.zeros(shape)));
  const makeLoss = lossOf(tf, product, workload);
  let steps = 0;

  const step = async (): Promise<number> => {
    const { ids, labels } = batchOfStep(workload, steps++);
    const loss = tf.tidy(() => {
      const vector = (values: Int32Array) => tf.tensor(values, [batch * context], "int32");
      const { value, grads } = tf.valueAndGrads(makeLoss(vector(ids), vector(labels)))(parameters);
      const norm = tf.addN(grads.map((gradient) => gradient.square().sum())).sqrt();
      const factor = tf.minimum(tf.scalar(clipNorm).div(norm.add(1e-6)), tf.scalar(1));
      parameters.forEach((parameter, i) => {
        const [first, second] = [firsts[i] as Variable, seconds[i] as Variable];
        tf.tidy(() => {
          const gradient = (grads[i] as Tensor).mul(factor);
          first.assign(first.mul(beta1).add(gradient.mul(1 - beta1)));
          second.assign(second.mul(beta2).add(gradient.square().mul(1 - beta2)));
          const update = first.div(1 - beta1 ** steps).div(
            second
              .div(1 - beta2 ** steps)
              .sqrt()
              .add(epsilon),
          );
          const decay = 1 - learningRate * (parameter.shape.length >= 2 ? weightDecay : 0);
          parameter.assign(parameter.mul(decay).sub(update.mul(learningRate)));
        });
      });
      return value;
    });
    const [value] = await loss.data();
    loss.dispose();
    return value as number;
  };

  const start = performance.now();
  await step();
  const firstStepSeconds = (performance.now() - start) / 1000;
  const count = shapes.reduce((total, shape) => total + shape.reduce((a, b) => a * b, 1), 0);
  return {
    ready: { compileSeconds: 0, firstStepSeconds, parameters: count, versions: versions() },
    async run(times) {
      const begin = performance.now();
      let loss = 0;
      for (let i = 0; i < times; i++) loss = await step();
      return { seconds: (performance.now() - begin) / 1000, tokens: times * tokensPerStep(workload), loss };
    },
  };
}

async function productsPeer(
  tf: TensorFlow,
  product: Product,
  workload: LlamaWorkload,
  shapes: readonly MatmulShape[],
): Promise<Peer> {
  // A batch is as many matrices, as in the step.
  const operands = (batch: number, rows: number, columns: number, transposed: boolean) => {
    const values = Float32Array.from({ length: rows * columns }, (_, i) => ((i % 17) - 8) / 8);
    return Array.from({ length: batch }, () => tf.tensor(values, transposed ? [columns, rows] : [rows, columns]));
  };
  const products = shapes.map(({ batch, m, k, n, transposeA, transposeB }) => {
    const [a, b] = [operands(batch, m, k, transposeA), operands(batch, k, n, transposeB)];
    return async () => {
      const start = performance.now();
      // Both backends compute at once, on this thread.
      a.forEach((left, i) => {
        tf.tidy(() => product(left, b[i] as Tensor, transposeA, transposeB)).dispose();
      });
      return (performance.now() - start) / 1000;
    };
  });
  return matmulPeer(workload, shapes, products, versions());
}

const versions = () => ({ node: process.version, tfjs: versionOf("@tensorflow/tfjs") });

await servePeer(async ({ task, mode, workload, matmulShapes }: PeerConfig) => {
  if (workload.architecture !== "llama") throw new Error("tfjs is measured with the Llama-style step only");
  const tf = requireOptional<TensorFlow>("@tensorflow/tfjs");
  if (mode === "wasm") requireOptional<unknown>("@tensorflow/tfjs-backend-wasm");
  if (!(await tf.setBackend(mode as Backend))) throw new Error(`tfjs could not start its ${mode} backend`);
  await tf.ready();
  const product = matrixProduct(tf, mode as Backend);
  return task === "matmul" ? productsPeer(tf, product, workload, matmulShapes) : stepPeer(tf, product, workload);
});
