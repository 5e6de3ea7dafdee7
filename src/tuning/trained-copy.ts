/** Parameters of a base model that an adapter trains in full: as copies, so that the base stays what it is. */

import type { Tensor } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { Module } from "../nn/module.js";
import type { WeightedModule } from "../nn/parametrization.js";
import type { Adaptation } from "./adapter.js";

/** Which parameters of a module are copied. */
export interface CopiedParts {
  readonly weight: boolean;
  readonly bias: boolean;
}

/** A module computes with these instead of its own. They begin as the module's own values are when they are first needed. */
export class TrainedCopy extends Module implements Adaptation {
  readonly trained: { readonly weight?: Parameter; readonly bias?: Parameter };
  isActive?: () => boolean;

  constructor({ weight, bias }: WeightedModule, parts: CopiedParts = { weight: true, bias: true }) {
    super();
    this.trained = { ...(parts.weight && { weight: copyOf(weight) }), ...(parts.bias && bias && { bias: copyOf(bias) }) };
  }

  weight(weight: Tensor): Tensor {
    return this.trained.weight ?? weight;
  }

  bias(bias: Tensor): Tensor {
    return this.trained.bias ?? bias;
  }
}

function copyOf(parameter: Parameter): Parameter {
  const copy = new Parameter(parameter.shape, { dtype: parameter.dtype });
  copy.moveTo({ read: () => parameter.read() });
  return copy;
}
