/**
 * The loss of a language model straight from its last hidden states, in chunks of rows: the logits of all positions never
 * exist at once, and the products are faster at a few hundred rows than at thousands.
 */

import { barrier } from "../graph/barrier.js";
import { customGradient, stopGradient } from "../graph/custom-gradient.js";
import { isStatic } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { add, div, exp, maximum, mul, neg, square, sub, tanh } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { notEqual } from "../graph/ops/compare.js";
import { full } from "../graph/ops/fill.js";
import { scatterAddAlong, takeAlong } from "../graph/ops/indexing.js";
import { crossEntropy } from "../graph/ops/loss.js";
import { matmul } from "../graph/ops/matmul.js";
import { sum } from "../graph/ops/reduce.js";
import { where } from "../graph/ops/select.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, slice } from "../graph/ops/shape-slice.js";
import { logSoftmax } from "../graph/ops/softmax.js";
import type { Tensor } from "../graph/tensor.js";
import { isTraining } from "../graph/trace.js";
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

/** hidden [..., size], weight [vocab, size] → logits [..., vocab] */
export function linearLogits(hidden: Tensor, weight: Tensor, { bias, softCap }: LogitsOptions = {}): Tensor {
  const product = matmul(hidden, weight, { transposeB: true });
  const logits = bias ? add(product, bias) : product;
  return softCap === undefined ? logits : softCapped(logits, softCap);
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
  const { zLoss = 0 } = options;
  const rows = hidden.shape.slice(0, -1).every(isStatic)
    ? labels.shape.reduce<number>((count, size) => count * (size as number), 1)
    : 0;
  if (isTraining() && rows > 0)
    return chunkedLosses(reshape(hidden, [rows, hidden.size(-1)]), weight, reshape(labels, [rows]), rows, options);
  const logits = linearLogits(hidden, weight, options);
  const loss = crossEntropy(logits, labels, { zLoss });
  return { loss, crossEntropy: zLoss === 0 ? loss : stopGradient(crossEntropy(logits, labels)) };
}

/**
 * The gradient of cross-entropy with respect to the logits, softmax − onehot (and of the z-loss, 2·zLoss·log Σ exp(logits)·softmax), is
 * at hand as soon as the loss is, so each chunk's share of the gradients is computed together with its loss and its logits can be
 * forgotten.
 */
function chunkedLosses(
  hidden: Tensor,
  weight: Tensor,
  labels: Tensor,
  rows: number,
  options: LinearCrossEntropyOptions,
): TrainingLosses {
  const { bias, softCap, zLoss = 0 } = options;
  const counts = notEqual(labels, IGNORED); // [rows]
  const counted = cast(counts, hidden.dtype);
  const share = div(counted, maximum(sum(counted), 1)); // weight of each row in the mean
  const targets = reshape(where(counts, labels, constant(0, labels.dtype)), [rows, 1]);
  const shareColumn = reshape(share, [rows, 1]);

  const losses: Tensor[] = [];
  const entropies: Tensor[] = []; // only beside a z-loss
  const hiddenGradients: Tensor[] = [];
  const weightGradients: Tensor[] = [];
  const biasGradients: Tensor[] = [];
  const [loss, entropy] = customGradient(
    (...[h, w, b]: readonly Tensor[]) => {
      for (let start = 0; start < rows; start += ROWS) {
        const part = (x: Tensor) => slice(x, 0, start, Math.min(rows, start + ROWS));
        // An engine may else keep the logits of every chunk until it comes to their gradients.
        const before = [losses, hiddenGradients, weightGradients].flatMap((made) => made.slice(-1));
        const hiddenPart = barrier(part(h as Tensor), ...before);
        const [target, weightOfRow] = [part(targets), part(shareColumn)];
        const uncapped = linearLogits(hiddenPart, w as Tensor, { bias: b }); // [chunk, vocab]
        const bent = softCap === undefined ? undefined : tanh(div(uncapped, softCap));
        const logits = bent && softCap !== undefined ? mul(bent, softCap) : uncapped;
        const logProbabilities = logSoftmax(logits);
        const logProbability = takeAlong(logProbabilities, target, 1); // [chunk, 1]
        // log softmax = logits − log Σ exp(logits), so that one label tells the sum of its row.
        const logTotal = zLoss === 0 ? undefined : sub(takeAlong(logits, target, 1), logProbability);
        const lossOfRow = logTotal ? sub(mul(square(logTotal), zLoss), logProbability) : neg(logProbability);
        losses.push(sum(mul(lossOfRow, weightOfRow)));
        if (logTotal) entropies.push(neg(sum(mul(logProbability, weightOfRow))));
        // The rows' weights are applied to the narrow side of the products, not to [chunk, vocab].
        const minusOnes = full(target.shape, -1, hidden.dtype);
        const probabilities = exp(logProbabilities);
        const pulled = logTotal ? mul(probabilities, add(mul(logTotal, 2 * zLoss), 1)) : probabilities;
        const dCapped = scatterAddAlong(pulled, target, minusOnes, 1); // softmax − onehot, and the z-loss's share
        const dLogits = bent ? mul(dCapped, sub(1, square(bent))) : dCapped;
        hiddenGradients.push(mul(matmul(dLogits, w as Tensor), weightOfRow));
        const dWeight = matmul(dLogits, mul(hiddenPart, weightOfRow), { transposeA: true });
        weightGradients.push(weightGradients.length > 0 ? add(weightGradients.at(-1) as Tensor, dWeight) : dWeight); // so far
        if (b) biasGradients.push(sum(mul(dLogits, weightOfRow), { axes: [0] }));
      }
      return [losses, entropies].filter(({ length }) => length > 0).map((parts) => parts.reduce((a, b) => add(a, b)));
    },
    ({ gradients: [dLoss] }) => {
      const gradients = [concat(hiddenGradients, 0), weightGradients.at(-1) as Tensor];
      if (bias) gradients.push(biasGradients.reduce((a, b) => add(a, b)));
      return gradients.map((gradient) => mul(gradient, dLoss as Tensor));
    },
  )(...[hidden, weight, ...(bias ? [bias] : [])]);
  return { loss: loss as Tensor, crossEntropy: entropy ? stopGradient(entropy) : (loss as Tensor) };
}
