/** Operators on elements, positions and losses against PyTorch (`reference/operators_elements.py`). */

import { onnxRuntimeNode } from "../../engine/onnxruntime/node.js";
import { stopGradient } from "../custom-gradient.js";
import type { Tensor } from "../tensor.js";
import { type Build, describeGolden } from "../testing/describe-golden.js";
import { cast } from "./cast.js";
import { cumulativeMax, cumulativeMin, cumulativeProduct } from "./cumulative.js";
import { atan2, expm1, log1p, logSigmoid } from "./elementary.js";
import {
  binaryCrossEntropy,
  type DivergenceOptions,
  huberLoss,
  klDivergence,
  type LossOptions,
  meanSquaredError,
} from "./regression-loss.js";
import { type DiagonalOptions, diagonal, roll } from "./roll.js";
import { gatherND, scatterMax, scatterND, scatterSet, scatterSetAlong } from "./scatter.js";
import { moveAxis } from "./shape.js";
import { sort } from "./sort.js";

interface Numbers {
  readonly axis: number;
  readonly shift: number;
}

const one =
  (operator: (x: Tensor, attributes: Numbers) => Tensor): Build =>
  ([x], attributes) => [operator(x as Tensor, attributes as unknown as Numbers)];

const loss =
  (operator: (x: Tensor, targets: Tensor, options: object) => Tensor): Build =>
  ([x, targets], options) => [operator(x as Tensor, targets as Tensor, options)];

type Operands = readonly [Tensor, Tensor, Tensor];

const builds: Readonly<Record<string, Build>> = {
  scatterSet: ([x, indices, updates], { axis, updatesFirst }) => {
    const rows = updates as Tensor;
    return [scatterSet(x as Tensor, indices as Tensor, updatesFirst ? moveAxis(rows, 1, 0) : rows, axis as number)];
  },
  scatterMax: (operands, { axis }) => [scatterMax(...(operands as unknown as Operands), axis as number)],
  scatterSetAlong: (operands, { axis }) => [scatterSetAlong(...(operands as unknown as Operands), axis as number)],
  gatherND: ([x, indices]) => [gatherND(x as Tensor, indices as Tensor)],
  scatterND: (operands, options) => [scatterND(...(operands as unknown as Operands), options)],
  roll: one((x, { shift, axis }) => roll(x, shift, axis)),
  diagonal: one((x, options) => diagonal(x, options as DiagonalOptions)),
  sort([x], { axis, descending }) {
    const { values, indices } = sort(x as Tensor, axis as number, { descending: descending as boolean });
    return [values, cast(indices, "int32")];
  },
  cumulativeMax: one((x, { axis }) => cumulativeMax(x, axis)),
  cumulativeMin: one((x, { axis }) => cumulativeMin(x, axis)),
  cumulativeProduct: one((x, { axis }) => cumulativeProduct(x, axis)),
  log1p: one(log1p),
  expm1: one(expm1),
  logSigmoid: one(logSigmoid),
  atan2: ([a, b]) => [atan2(a as Tensor, b as Tensor)],
  binaryCrossEntropy: ([logits, targets, weight], options) => [
    binaryCrossEntropy(logits as Tensor, targets as Tensor, {
      ...(options as LossOptions),
      ...(weight && { positiveWeight: stopGradient(weight) }),
    }),
  ],
  meanSquaredError: loss(meanSquaredError),
  huberLoss: loss(huberLoss),
  klDivergence: ([x, targets], options) => {
    const { logTargets } = options as DivergenceOptions;
    const target = targets as Tensor;
    return [klDivergence(x as Tensor, logTargets ? target : stopGradient(target), options as DivergenceOptions)];
  },
};

describeGolden("operators-elements", builds, { engine: await onnxRuntimeNode({ threads: 1 }) });
