/**
 * The loss of a language model straight from its last hidden states, in chunks of rows: the logits of all positions never
 * exist at once, and the products are faster at a few hundred rows than at thousands.
 */

import { barrier } from "../graph/barrier.js";
import { customGradient, stopGradient } from "../graph/custom-gradient.js";
import { isStatic } from "../graph/dim.js";
import { isFloat } from "../graph/dtype.js";
import { partialVectorJacobian } from "../graph/gradient.js";
import { nodesOf } from "../graph/graph.js";
import { constant } from "../graph/leaves.js";
import { add, div, exp, maximum, mul, neg, square, sub, tanh } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { notEqual } from "../graph/ops/compare.js";
import { full, zerosLike } from "../graph/ops/fill.js";
import { scatterAddAlong, takeAlong } from "../graph/ops/indexing.js";
import { crossEntropy } from "../graph/ops/loss.js";
import { matmul } from "../graph/ops/matmul.js";
import { sum } from "../graph/ops/reduce.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, slice } from "../graph/ops/shape-slice.js";
import { logSoftmax } from "../graph/ops/softmax.js";
import { nodeIdMark, Tensor } from "../graph/tensor.js";
import { isTraining } from "../graph/trace.js";
import { Parameter } from "../graph/variable.js";
import { mapThrough, type WeightedModule } from "./parametrization.js";
import { softCapped } from "./soft-cap.js";

/** Rows of logits that exist at once. */
const ROWS = 512;
/** Positions with this label count for nothing. */
const IGNORED = -100;

/** What a last linear map does besides its product with [vocab, size]. */
export interface LogitsOptions {
  /** [vocab], added. */
  readonly bias?: Tensor | undefined;
  /** Bends logits into (−cap, cap) by cap·tanh(logit/cap). */
  readonly softCap?: number | undefined;
}

/** A last linear map: a `Linear`, or the `Embedding` that it is tied to; its weight is [vocab, size]. */
export type OutputLayer = WeightedModule;

interface LinearForm extends LogitsOptions {
  readonly hidden: Tensor;
  readonly weight: Tensor;
}

/** How logits came about, where they are a linear map and nothing else: chunks of the loss then know their gradient in closed form. */
const linearForms = new WeakMap<Tensor, LinearForm>();

/**
 * hidden [..., size] → logits [..., vocab]
 *
 * @param output the last layer, or its weight [vocab, size]
 */
export function linearLogits(hidden: Tensor, output: Tensor | OutputLayer, options: LogitsOptions = {}): Tensor {
  const { softCap } = options;
  let form: LinearForm | undefined;
  let plain: Tensor | undefined;
  const map = (x: Tensor, { weight, bias = options.bias }: Pick<LinearForm, "weight" | "bias">): Tensor => {
    const product = matmul(x, weight, { transposeB: true });
    plain = bias ? add(product, bias) : product;
    form = { hidden: x, weight, bias, softCap };
    return plain;
  };
  const logits = output instanceof Tensor ? map(hidden, { weight: output }) : mapThrough(output, hidden, map);
  const capped = softCap === undefined ? logits : softCapped(logits, softCap);
  // What was put around the map (an adapter) may make it more than linear.
  if (form && plain === logits) linearForms.set(capped, form);
  return capped;
}

export interface LinearCrossEntropyOptions extends LogitsOptions {
  /** Coefficient of (log Σ exp(logits))², which keeps logits from drifting (Chowdhery et al. 2022, "PaLM", section 5). Default 0. */
  readonly zLoss?: number | undefined;
}

/** What training makes small, and what of it is told: scalars. */
export interface TrainingLosses {
  /** Cross-entropy and all that is added to it. */
  readonly loss: Tensor;
  /** Cross-entropy alone, in nats per token; the same tensor where nothing is added to it, else without a gradient. */
  readonly crossEntropy: Tensor;
}

/**
 * Mean over the labels that are not −100 of the cross-entropy of softmax(linearLogits(hidden, weight)), and of the
 * z-loss; 0 when there are none.
 *
 * @param hidden [..., size]
 * @param weight [vocab, size]
 * @param labels [...] whole numbers
 * @returns a scalar
 */
export const linearCrossEntropy = (
  hidden: Tensor,
  weight: Tensor,
  labels: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor => linearLosses(hidden, weight, labels, options).loss;

/** The same, with the cross-entropy apart from the z-loss. */
export function linearLosses(
  hidden: Tensor,
  weight: Tensor,
  labels: Tensor,
  options: LinearCrossEntropyOptions = {},
): TrainingLosses {
  const { zLoss, ...logits } = options;
  return logitsLosses(hidden, (rows) => linearLogits(rows, weight, logits), labels, zLoss);
}

/** hidden [..., size] → logits [..., vocab], each row by itself */
export type LogitsOf = (hidden: Tensor) => Tensor;

/**
 * The losses of whatever makes logits of hidden states: `linearLosses` for a last layer that may be more than a linear map.
 *
 * @param hidden [..., size]
 * @param labels [...] whole numbers
 */
export function logitsLosses(hidden: Tensor, logitsOf: LogitsOf, labels: Tensor, zLoss = 0): TrainingLosses {
  const rows = hidden.shape.slice(0, -1).every(isStatic)
    ? labels.shape.reduce<number>((count, size) => count * (size as number), 1)
    : 0;
  if (rows > 0) {
    const flat = reshape(hidden, [rows, hidden.size(-1)]);
    return chunkedLosses(flat, headOf(flat, logitsOf), reshape(labels, [rows]), rows, zLoss);
  }
  const logits = logitsOf(hidden);
  const loss = crossEntropy(logits, labels, { zLoss });
  return { loss, crossEntropy: zLoss === 0 ? loss : stopGradient(crossEntropy(logits, labels)) };
}

/** A last layer for chunks of rows. */
interface Head {
  /** What it reads besides the hidden states, and may be trained. */
  readonly operands: readonly Tensor[];
  /** Logits before the soft cap. */
  logits(hidden: Tensor): Tensor;
  readonly softCap: number | undefined;
  /**
   * Gradients of the hidden rows and of the operands.
   *
   * @param dLogits [chunk, vocab] of each row's own loss
   * @param weightOfRow [chunk, 1] each row's weight in the mean
   */
  gradients(hidden: Tensor, logits: Tensor, dLogits: Tensor, weightOfRow: Tensor): readonly [Tensor, ...Tensor[]];
}

function headOf(hidden: Tensor, logitsOf: LogitsOf): Head {
  const mark = nodeIdMark();
  const probe = logitsOf(hidden);
  const form = linearForms.get(probe);
  return form?.hidden === hidden ? linearHead(form) : anyHead(logitsOf, readFromOutside(probe, hidden, mark), mark);
}

const linearHead = ({ weight, bias, softCap }: LinearForm): Head => ({
  operands: [weight, ...(bias ? [bias] : [])],
  logits: (hidden) => linearLogits(hidden, weight, { bias }),
  softCap,
  // The rows' weights are applied to the narrow side of the products, not to [chunk, vocab].
  gradients: (hidden, _, dLogits, weightOfRow) => [
    mul(matmul(dLogits, weight), weightOfRow),
    matmul(dLogits, mul(hidden, weightOfRow), { transposeA: true }),
    ...(bias ? [sum(mul(dLogits, weightOfRow), { axes: [0] })] : []),
  ],
});

/** @param since what was made before is an operand, and not looked into: one operand may have been made of another */
const anyHead = (logitsOf: LogitsOf, operands: readonly Tensor[], since: number): Head => ({
  operands,
  logits: logitsOf,
  softCap: undefined,
  gradients: (hidden, logits, dLogits, weightOfRow) => {
    const wrt = [hidden, ...operands];
    const gradients = partialVectorJacobian([logits], [mul(dLogits, weightOfRow)], wrt, { since });
    return gradients.map((gradient, i) => gradient ?? zerosLike(wrt[i] as Tensor)) as [Tensor, ...Tensor[]];
  },
});

/** Whether a gradient by this tensor may be asked for: it depends on more than frozen parameters, or is no matter of parameters. */
const isTrained = (tensor: Tensor): boolean => {
  const leaves = nodesOf([tensor]).filter(({ op }) => op.leaf);
  return !leaves.every(({ outputs: [leaf] }) => leaf instanceof Parameter && !leaf.trainable);
};

/** The float tensors from before `mark` that `made` depends on, but for `hidden` and constants. */
function readFromOutside(made: Tensor, hidden: Tensor, mark: number): readonly Tensor[] {
  const found = new Set<Tensor>();
  for (const node of nodesOf([made], ({ id }) => id < mark))
    if (node.id >= mark)
      for (const operand of node.inputs)
        if (operand !== hidden && operand.node.id < mark && operand.node.op.name !== "constant" && isFloat(operand.dtype))
          found.add(operand);
  return [...found];
}

/**
 * The gradient of cross-entropy with respect to the logits, softmax − onehot (and of the z-loss, 2·zLoss·log Σ exp(logits)·softmax), is
 * at hand as soon as the loss is, so each chunk's share of the gradients is computed together with its loss and its logits can be
 * forgotten.
 */
function chunkedLosses(hidden: Tensor, head: Head, labels: Tensor, rows: number, zLoss: number): TrainingLosses {
  const { softCap, operands } = head;
  const counts = notEqual(labels, IGNORED); // [rows]
  const counted = cast(counts, hidden.dtype);
  const share = div(counted, maximum(sum(counted), 1)); // weight of each row in the mean
  const targets = reshape(where(counts, labels, constant(0, labels.dtype)), [rows, 1]);
  const shareColumn = reshape(share, [rows, 1]);

  const losses: Tensor[] = [];
  const entropies: Tensor[] = []; // only beside a z-loss
  const hiddenGradients: Tensor[] = [];
  const operandGradients: Tensor[][] = operands.map(() => []); // each entry the sum of all chunks so far
  // Gradients of frozen weights are never asked for: to wait for them would have them computed.
  const awaited = operandGradients.filter((_, i) => isTrained(operands[i] as Tensor)).slice(0, 1);
  const [loss, entropy] = customGradient(
    (...[h]: readonly Tensor[]) => {
      for (let start = 0; start < rows; start += ROWS) {
        const part = (x: Tensor) => slice(x, 0, start, Math.min(rows, start + ROWS));
        // An engine may else keep the logits of every chunk until it comes to their gradients. Where nothing is trained none are made.
        const made = isTraining() ? [losses, hiddenGradients, ...awaited] : [losses];
        const before = made.flatMap((each) => each.slice(-1));
        const hiddenPart = barrier(part(h as Tensor), ...before);
        const [target, weightOfRow] = [part(targets), part(shareColumn)];
        const uncapped = head.logits(hiddenPart); // [chunk, vocab]
        const bent = softCap === undefined ? undefined : tanh(div(uncapped, softCap));
        const logits = bent && softCap !== undefined ? mul(bent, softCap) : uncapped;
        const logProbabilities = logSoftmax(logits);
        const logProbability = takeAlong(logProbabilities, target, 1); // [chunk, 1]
        // log softmax = logits − log Σ exp(logits), so that one label tells the sum of its row.
        const logTotal = zLoss === 0 ? undefined : sub(takeAlong(logits, target, 1), logProbability);
        const lossOfRow = logTotal ? sub(mul(square(logTotal), zLoss), logProbability) : neg(logProbability);
        losses.push(sum(mul(lossOfRow, weightOfRow)));
        if (logTotal) entropies.push(neg(sum(mul(logProbability, weightOfRow))));
        const minusOnes = full(target.shape, -1, hidden.dtype);
        const probabilities = exp(logProbabilities);
        const pulled = logTotal ? mul(probabilities, add(mul(logTotal, 2 * zLoss), 1)) : probabilities;
        const dCapped = scatterAddAlong(pulled, target, minusOnes, 1); // softmax − onehot, and the z-loss's share
        const dLogits = bent ? mul(dCapped, sub(1, square(bent))) : dCapped;
        const [ofHidden, ...ofOperands] = head.gradients(hiddenPart, uncapped, dLogits, weightOfRow);
        hiddenGradients.push(ofHidden);
        for (const [i, sums] of operandGradients.entries()) {
          const [soFar, gradient] = [sums.at(-1), ofOperands[i] as Tensor];
          sums.push(soFar ? add(soFar, gradient) : gradient);
        }
      }
      return [losses, entropies].filter(({ length }) => length > 0).map((parts) => parts.reduce((a, b) => add(a, b)));
    },
    ({ gradients: [dLoss] }) => {
      const gradients = [concat(hiddenGradients, 0), ...operandGradients.map((sums) => sums.at(-1) as Tensor)];
      return gradients.map((gradient) => mul(gradient, dLoss as Tensor));
    },
  )(hidden, ...operands);
  return { loss: loss as Tensor, crossEntropy: entropy ? stopGradient(entropy) : (loss as Tensor) };
}
