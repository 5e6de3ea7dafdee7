/**
 * What the benches compute: model sizes, hyperparameters, starting values, batches, and the FLOPs that follow from them.
 * Every peer does the same work from the same numbers, so that their losses agree and a peer that computes something else shows.
 */

export interface Optimizer {
  /** The peak when there is a schedule. */
  readonly learningRate: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** Decoupled; matrices and embeddings decay, vectors do not. */
  readonly weightDecay: number;
  /** The gradient's norm over all parameters is clipped to this. */
  readonly clipNorm: number;
}

/** One training step of a Llama-style decoder: RMSNorm, rotary positions, SwiGLU, tied embedding, no biases. */
export interface LlamaWorkload {
  readonly architecture: "llama";
  readonly name: string;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  /** Width of the SwiGLU. */
  readonly intermediate: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly batch: number;
  /** Heads of keys and values. Default: as many as `heads`. */
  readonly kvHeads?: number;
  /** How many keys a query sees, its own included. Default: all before it. */
  readonly window?: number;
  /** Attention over whole matrices of scores, whose weights are kept for the backward pass; else in blocks. Without a window alone. */
  readonly wholeAttention?: boolean;
  /** A mixture in place of the SwiGLU: `intermediate` is then the width of each expert. Default: none. */
  readonly experts?: { readonly count: number; readonly perToken: number };
  readonly ropeTheta: number;
  readonly normEpsilon: number;
  readonly optimizer: Optimizer;
  /** Steps in one timed repetition: enough that a repetition lasts some tenths of a second at least. */
  readonly stepsPerRepetition: number;
}

/** A whole training of nanoGPT's character-level model; the vocabulary is that of the text. */
export interface NanoGptWorkload {
  readonly architecture: "nanogpt";
  readonly name: string;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly context: number;
  readonly batch: number;
  readonly optimizer: Optimizer;
  readonly steps: number;
  readonly warmupSteps: number;
  readonly minimumLearningRate: number;
  readonly seeds: readonly number[];
  readonly stepsPerRepetition: number;
}

export type Workload = LlamaWorkload | NanoGptWorkload;

const llama = { architecture: "llama", ropeTheta: 10_000, normEpsilon: 1e-5 } as const;
const adamW: Optimizer = { learningRate: 5e-4, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 };

/** 29.0 M parameters. */
export const train: LlamaWorkload = {
  ...llama,
  name: "train",
  layers: 8,
  hidden: 512,
  heads: 8,
  intermediate: 1408,
  vocabulary: 6400,
  context: 512,
  batch: 8,
  optimizer: adamW,
  stepsPerRepetition: 1,
};

/** `train` with longer and fewer sequences: the same tokens a step. */
export const contexts: readonly LlamaWorkload[] = [512, 1024, 2048, 4096].map((context) => ({
  ...train,
  name: `train-${context}`,
  context,
  batch: (train.batch * train.context) / context,
}));

/** `train` with fewer tokens a step: what fits into the 4 GiB of a WebAssembly memory. */
export const trainScaled: LlamaWorkload = { ...train, name: "train-scaled", context: 256, batch: 2 };

/** `train` with fewer tokens and a narrower model, for plain JavaScript at 1 GFLOP/s. */
export const trainTiny: LlamaWorkload = {
  ...train,
  name: "train-tiny",
  layers: 2,
  hidden: 256,
  heads: 4,
  intermediate: 704,
  vocabulary: 1600,
  context: 128,
  batch: 1,
};

/** For `attention`: two layers of `train` over a small vocabulary, so that attention is a good part of the step. */
const attentive: LlamaWorkload = { ...train, name: "attention", layers: 2, vocabulary: 1024, batch: 16 };

/** How the heads of `attention` look at keys: over whole matrices of scores, or in blocks. */
export const attentionVariants = {
  whole: { wholeAttention: true },
  full: {},
  "grouped-query": { kvHeads: 2 },
  "sliding-window": { window: 512 },
} as const satisfies Readonly<Record<string, Partial<LlamaWorkload>>>;

/** Every variant with sequences of 512 to 8,192, always 8,192 tokens a step. */
export const attentionWorkloads: readonly LlamaWorkload[] = Object.entries(attentionVariants).flatMap(([variant, sizes]) =>
  [512, 1024, 2048, 4096, 8192].map((context) => ({
    ...attentive,
    ...sizes,
    name: `${variant}-${context}`,
    context,
    batch: (attentive.batch * attentive.context) / context,
  })),
);

/** A dense model, and one of the same active size: of eight experts half as wide each token goes through two. */
export const moeDense: LlamaWorkload = { ...train, name: "dense", layers: 4 };
export const moe: LlamaWorkload = {
  ...moeDense,
  name: "experts",
  intermediate: moeDense.intermediate / 2,
  experts: { count: 8, perToken: 2 },
};

/** 0.8 M parameters. */
export const small: LlamaWorkload = {
  ...llama,
  name: "small",
  layers: 4,
  hidden: 128,
  heads: 4,
  intermediate: 344,
  vocabulary: 65,
  context: 64,
  batch: 12,
  optimizer: adamW,
  stepsPerRepetition: 25,
};

/** The step of `npm start`: 3.7 M parameters. */
export const pocket: LlamaWorkload = {
  ...llama,
  name: "pocket",
  layers: 4,
  hidden: 256,
  heads: 4,
  intermediate: 704,
  vocabulary: 2048,
  context: 128,
  batch: 16,
  optimizer: adamW,
  stepsPerRepetition: 2,
};

/** nanoGPT's setting for a CPU (the README's command over config/train_shakespeare_char.py and the defaults of train.py). */
export const nanoGpt: NanoGptWorkload = {
  architecture: "nanogpt",
  name: "nanogpt",
  layers: 4,
  hidden: 128,
  heads: 4,
  context: 64,
  batch: 12,
  optimizer: { learningRate: 1e-3, betas: [0.9, 0.99], epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
  steps: 2000,
  warmupSteps: 100,
  minimumLearningRate: 1e-4,
  seeds: [1, 2, 3],
  stepsPerRepetition: 250,
};

/** nanoGPT's learning rate: linear warm-up, then half a cosine down to the minimum. `step` counts from 0. */
export function nanoGptLearningRate(workload: NanoGptWorkload, step: number): number {
  const { optimizer, minimumLearningRate: minimum, warmupSteps, steps } = workload;
  if (step < warmupSteps) return (optimizer.learningRate * (step + 1)) / (warmupSteps + 1);
  const progress = (step - warmupSteps) / (steps - warmupSteps);
  return minimum + (optimizer.learningRate - minimum) * 0.5 * (1 + Math.cos(Math.PI * progress));
}

// ---------------------------------------------------------------------------------------------------------------------
// FLOPs and matrix products

export const tokensPerStep = ({ batch, context }: Workload): number => batch * context;

/** All parameters under their Hugging Face names, in the order that numbers them. Weights of linear layers are [out, in]. */
export function llamaParameters(workload: LlamaWorkload): Array<{ readonly name: string; readonly shape: readonly number[] }> {
  const { layers, hidden, heads, kvHeads = heads, intermediate, vocabulary, experts } = workload;
  const keyWidth = (hidden / heads) * kvHeads;
  const feedForward = (path: string): [string, number[]][] => [
    [`${path}.gate_proj`, [intermediate, hidden]],
    [`${path}.up_proj`, [intermediate, hidden]],
    [`${path}.down_proj`, [hidden, intermediate]],
  ];
  const mixture = (count: number): [string, number[]][] => [
    ["mlp.gate", [count, hidden]],
    ...Array.from({ length: count }, (_, expert) => feedForward(`mlp.experts.${expert}`)).flat(),
  ];
  const block = (layer: number) =>
    [
      ["input_layernorm", [hidden]],
      ["self_attn.q_proj", [hidden, hidden]],
      ["self_attn.k_proj", [keyWidth, hidden]],
      ["self_attn.v_proj", [keyWidth, hidden]],
      ["self_attn.o_proj", [hidden, hidden]],
      ["post_attention_layernorm", [hidden]],
      ...(experts ? mixture(experts.count) : feedForward("mlp")),
    ].map(([name, shape]) => ({ name: `model.layers.${layer}.${name}.weight`, shape: shape as number[] }));
  return [
    { name: "model.embed_tokens.weight", shape: [vocabulary, hidden] },
    ...Array.from({ length: layers }, (_, layer) => block(layer)).flat(),
    { name: "model.norm.weight", shape: [hidden] },
  ];
}

const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);

export const llamaParameterCount = (workload: LlamaWorkload): number =>
  llamaParameters(workload).reduce((total, { shape }) => total + product(shape), 0);

/** nanoGPT's model without biases; the embedding is tied to the output. */
export const nanoGptParameterCount = ({ layers, hidden, context }: NanoGptWorkload, vocabulary: number): number =>
  (vocabulary + context) * hidden + layers * (12 * hidden ** 2 + 2 * hidden) + hidden;

/**
 * FLOPs of one training step, forward and backward: 6·N + 12·L·T·D a token (PaLM, Chowdhery et al. 2022, appendix B).
 * Attention counts in full, though half of it is masked; what is computed twice to save memory does not count.
 */
export function modelFlops(workload: Workload, parameters: number): number {
  const { layers, context, hidden } = workload;
  return tokensPerStep(workload) * (6 * (parameters - idleParameters(workload)) + 12 * layers * context * hidden);
}

/** Parameters of experts that a token does not go through. */
function idleParameters(workload: Workload): number {
  if (workload.architecture !== "llama" || !workload.experts) return 0;
  const { layers, hidden, intermediate, experts } = workload;
  return layers * (experts.count - experts.perToken) * 3 * hidden * intermediate;
}

/** `count` products of op(A) [batch, m, k] with op(B) [batch, k, n], where op transposes what lies in memory the other way round. */
export interface MatmulShape {
  readonly name: string;
  readonly batch: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** A lies in memory as [batch, k, m]. */
  readonly transposeA: boolean;
  /** B lies in memory as [batch, n, k]. */
  readonly transposeB: boolean;
  /** Computed twice and timed the second time, as in a step, where the operator before has just made or read the operands. */
  readonly warm?: boolean;
  readonly count: number;
}

export const matmulFlops = ({ batch, m, k, n, count }: MatmulShape): number => 2 * batch * m * k * n * count;

/** y = A·op(B), and the two products of its backward pass. */
export function withGradients(
  name: string,
  count: number,
  batch: number,
  m: number,
  k: number,
  n: number,
  transposeB: boolean,
): MatmulShape[] {
  return [
    { name, batch, m, k, n, transposeA: false, transposeB, count },
    // dA [m, k] = dy [m, n] · op(B)ᵀ
    { name: `${name}, gradient of A`, batch, m, k: n, n: k, transposeA: false, transposeB: !transposeB, count },
    // dB lies as B does: [n, k] = dyᵀ · A where B is transposed, [k, n] = Aᵀ · dy where it is not.
    transposeB
      ? { name: `${name}, gradient of B`, batch, m: n, k: m, n: k, transposeA: true, transposeB: false, count }
      : { name: `${name}, gradient of B`, batch, m: k, k: m, n, transposeA: true, transposeB: false, count },
  ];
}

/** Every distinct matrix product of one training step, forward and backward, with how often it occurs. */
export function matmulShapes(workload: LlamaWorkload): MatmulShape[] {
  const { layers, hidden, heads, intermediate, vocabulary, context, batch } = workload;
  const tokens = batch * context;
  return [
    withGradients("query, key, value, output", 4 * layers, 1, tokens, hidden, hidden, true),
    withGradients("gate, up", 2 * layers, 1, tokens, hidden, intermediate, true),
    withGradients("down", layers, 1, tokens, intermediate, hidden, true),
    withGradients("logits", 1, 1, tokens, hidden, vocabulary, true),
    withGradients("attention scores", layers, batch * heads, context, hidden / heads, context, true),
    withGradients("attention values", layers, batch * heads, context, context, hidden / heads, false),
  ].flat();
}

// ---------------------------------------------------------------------------------------------------------------------
// Starting values and batches, from a hash that any language computes alike

/** 32 well-mixed bits of (stream, index): the finalizer `lowbias32` of Chris Wellons' hash-prospector. */
export function hash(stream: number, index: number): number {
  let x = (Math.imul(stream + 1, 0x9e3779b9) ^ index) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}

/** Starting values of parameter number `index`: norms 1, weights uniform with a standard deviation of 0.02. */
export function startingValues(index: number, shape: readonly number[]): Float32Array {
  const values = new Float32Array(product(shape));
  if (shape.length === 1) return values.fill(1);
  const width = 2 * 0.02 * Math.sqrt(3);
  for (let i = 0; i < values.length; i++) values[i] = (hash(index, i) / 2 ** 32 - 0.5) * width;
  return values;
}

export interface Batch {
  /** [batch, context] */
  readonly ids: Int32Array;
  /** [batch, context]: the target of each position. */
  readonly labels: Int32Array;
}

const BATCH_STREAM = 1_000_000;
export const DISTINCT_BATCHES = 16;

/** The batch of step `step`: sequences in which each token has four possible successors, so that there is something to learn. */
export function batchOfStep({ batch, context, vocabulary }: LlamaWorkload, step: number): Batch {
  const ids = new Int32Array(batch * context);
  const labels = new Int32Array(batch * context);
  for (let row = 0; row < batch; row++) {
    const random = (position: number) => hash(BATCH_STREAM + (step % DISTINCT_BATCHES), row * (context + 1) + position);
    let token = random(0) % vocabulary;
    for (let position = 0; position < context; position++) {
      ids[row * context + position] = token;
      token = (token * 5 + 7 + (random(position + 1) % 4)) % vocabulary;
      labels[row * context + position] = token;
    }
  }
  return { ids, labels };
}
