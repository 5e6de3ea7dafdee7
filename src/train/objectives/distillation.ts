/** A smaller model learns what a larger one would say (Hinton et al. 2015, "Distilling the knowledge in a neural network", section 2). */

import * as z from "zod";
import { ignoredLabel } from "../../data/data-source.js";
import { tokenSource } from "../../data/token-source.js";
import { ArgumentError } from "../../errors.js";
import { checkpoint } from "../../graph/checkpoint.js";
import { isStatic } from "../../graph/dim.js";
import { constant } from "../../graph/leaves.js";
import { add, div, exp, maximum, mul, sub } from "../../graph/ops/arithmetic.js";
import { cast } from "../../graph/ops/cast.js";
import { notEqual } from "../../graph/ops/compare.js";
import { sum } from "../../graph/ops/reduce.js";
import { reshape } from "../../graph/ops/shape.js";
import { slice } from "../../graph/ops/shape-slice.js";
import { logSoftmax } from "../../graph/ops/softmax.js";
import type { Tensor } from "../../graph/tensor.js";
import { defineObjective } from "../objective.js";
import { checkTokens, countedLabels, rowsOf } from "./causal-lm.js";

/** Rows whose logits exist at once. */
const ROWS = 512;

/** Logits of hidden states. */
type LogitsOf = (hidden: Tensor) => Tensor;

interface Speaker {
  readonly hidden: Tensor;
  readonly logits: LogitsOf;
}

/**
 * Σ over the positions that count of KL(teacher ‖ student) at a temperature, in nats; the logits of all positions never exist at once.
 *
 * @param labels [batch, seq]; positions with −100 do not count
 */
export function distillationSum(student: Speaker, teacher: Speaker, labels: Tensor, temperature: number): Tensor {
  const counts = cast(notEqual(labels, ignoredLabel), "float32"); // [batch, seq]
  const divergence = (studentRows: Tensor, teacherRows: Tensor, weights: Tensor): Tensor => {
    const ours = logSoftmax(div(student.logits(studentRows), temperature));
    const theirs = logSoftmax(div(teacher.logits(teacherRows), temperature));
    return sum(mul(sum(mul(exp(theirs), sub(theirs, ours)), { axes: [-1] }), weights));
  };
  const shape = student.hidden.shape.slice(0, -1);
  if (!shape.every(isStatic)) return divergence(student.hidden, teacher.hidden, counts);
  const rows = shape.reduce<number>((count, size) => count * (size as number), 1);
  const flat = (x: Tensor) => reshape(x, [rows, x.size(-1)]);
  const [ours, theirs, weights] = [flat(student.hidden), flat(teacher.hidden), reshape(counts, [rows])];
  let total: Tensor = constant(0);
  for (let start = 0; start < rows; start += ROWS) {
    const part = (x: Tensor) => slice(x, 0, start, Math.min(rows, start + ROWS));
    // Computed again in the backward pass: logits are the widest values there are.
    total = add(
      total,
      checkpoint(() => divergence(part(ours), part(theirs), part(weights))),
    );
  }
  return total;
}

/** A share of the teacher's distribution at a temperature, the rest the text itself. */
export const distillation = defineObjective({
  name: "distillation",
  description: "imitate the distribution of a larger model's next token",
  kind: "causal-lm",
  accepts: ["text"],
  companions: ["teacher"],
  settings: z.strictObject({
    /** Softens both distributions; the divergence is multiplied by its square, which keeps gradients as large as they were. */
    temperature: z.number("a number above 0").positive("a number above 0").default(2),
    /** Weight of the teacher; the cross-entropy of the text has the rest. */
    share: z.number("a number from 0 to 1").min(0, "a number from 0 to 1").max(1, "a number from 0 to 1").default(0.5),
  }),
  source: async (context) => tokenSource(rowsOf(await context.documents(), context.layout)),
  check: checkTokens,
  loss(model, { ids, labels, segments, positions }, { settings: { temperature, share }, teacher }) {
    if (teacher.vocabSize !== model.vocabSize)
      throw new ArgumentError(
        `The teacher has a vocabulary of ${teacher.vocabSize} tokens and the model one of ${model.vocabSize}: distillation compares them token by token.`,
      );
    const places = { ...(segments && { segments }), ...(positions && { positions }) };
    const speaker = (speaking: typeof model): Speaker => ({
      hidden: speaking.hiddenStates(ids, places),
      logits: (hidden) => speaking.logits(hidden),
    });
    const weight = countedLabels(labels);
    const student = speaker(model);
    const divergence = div(distillationSum(student, speaker(teacher), labels, temperature), maximum(weight, 1));
    const crossEntropy = model.lossOfHidden(student.hidden, labels).crossEntropy;
    const loss = add(mul(divergence, share * temperature ** 2), mul(crossEntropy, 1 - share));
    const metrics = {
      divergence: { sum: mul(divergence, weight), weight },
      crossEntropy: { sum: mul(crossEntropy, weight), weight },
    };
    return { loss, weight, metrics };
  },
});
