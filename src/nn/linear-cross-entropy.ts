/**
 * The loss of a language model straight from its last hidden states, in chunks of rows: the logits of all positions never
 * exist at once, and the products are faster at a few hundred rows than at thousands.
 */

import { customGradient } from "../graph/custom-gradient.js";
import { isStatic } from "../graph/dim.js";
import { constant } from "../graph/leaves.js";
import { add, div, exp, maximum, mul, neg } from "../graph/ops/arithmetic.js";
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

/** Rows of logits that exist at once. */
const ROWS = 512;
/** Positions with this label count for nothing. */
const IGNORED = -100;

/**
 * Mean over the labels that are not −100 of the cross-entropy of softmax(hidden · weightᵀ); 0 when there are none.
 *
 * @param hidden [..., size]
 * @param weight [vocab, size]
 * @param labels [...] whole numbers
 * @returns a scalar
 */
export function linearCrossEntropy(hidden: Tensor, weight: Tensor, labels: Tensor): Tensor {
  const rows = hidden.shape.slice(0, -1).every(isStatic)
    ? labels.shape.reduce<number>((count, size) => count * (size as number), 1)
    : 0;
  if (!isTraining() || rows === 0) return crossEntropy(matmul(hidden, weight, { transposeB: true }), labels);
  return chunkedLoss(reshape(hidden, [rows, hidden.size(-1)]), weight, reshape(labels, [rows]), rows);
}

/**
 * The gradient of cross-entropy with respect to the logits, softmax − onehot, is at hand as soon as the loss is, so each
 * chunk's share of the gradients is computed together with its loss and its logits can be forgotten.
 */
function chunkedLoss(hidden: Tensor, weight: Tensor, labels: Tensor, rows: number): Tensor {
  const counts = notEqual(labels, IGNORED); // [rows]
  const counted = cast(counts, hidden.dtype);
  const share = div(counted, maximum(sum(counted), 1)); // weight of each row in the mean
  const targets = reshape(where(counts, labels, constant(0, labels.dtype)), [rows, 1]);
  const shareColumn = reshape(share, [rows, 1]);

  const losses: Tensor[] = [];
  const hiddenGradients: Tensor[] = [];
  const weightGradients: Tensor[] = [];
  const [loss] = customGradient(
    (h, w) => {
      for (let start = 0; start < rows; start += ROWS) {
        const part = (x: Tensor) => slice(x, 0, start, Math.min(rows, start + ROWS));
        const [hiddenPart, target, weightOfRow] = [part(h as Tensor), part(targets), part(shareColumn)];
        const logProbabilities = logSoftmax(matmul(hiddenPart, w as Tensor, { transposeB: true })); // [chunk, vocab]
        losses.push(neg(sum(mul(takeAlong(logProbabilities, target, 1), weightOfRow))));
        // The rows' weights are applied to the narrow side of the products, not to [chunk, vocab].
        const minusOnes = full(target.shape, -1, hidden.dtype);
        const dLogits = scatterAddAlong(exp(logProbabilities), target, minusOnes, 1); // softmax − onehot
        hiddenGradients.push(mul(matmul(dLogits, w as Tensor), weightOfRow));
        weightGradients.push(matmul(dLogits, mul(hiddenPart, weightOfRow), { transposeA: true }));
      }
      return [losses.reduce((a, b) => add(a, b))];
    },
    ({ gradients: [dLoss] }) => [
      mul(concat(hiddenGradients, 0), dLoss as Tensor),
      mul(
        weightGradients.reduce((a, b) => add(a, b)),
        dLoss as Tensor,
      ),
    ],
  )(hidden, weight);
  return loss as Tensor;
}
