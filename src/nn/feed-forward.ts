/** Feed-forward blocks: what a transformer layer does to each position by itself. */

import { silu } from "../graph/ops/activation.js";
import { mul } from "../graph/ops/arithmetic.js";
import type { Tensor } from "../graph/tensor.js";
import { Linear, type LinearOptions } from "./linear.js";
import { Module } from "./module.js";

export interface GatedFeedForwardOptions extends LinearOptions {
  /** Initial values of the projection back into the residual stream. Default: the same as of the others. */
  readonly outputInitializer?: LinearOptions["initializer"];
}

/** SwiGLU (Shazeer 2020, "GLU variants improve transformer"): down(silu(gate(x)) · up(x)), without biases. */
export class SwiGLU extends Module {
  readonly gateProj: Linear;
  readonly upProj: Linear;
  readonly downProj: Linear;

  constructor(hiddenSize: number, intermediateSize: number, { outputInitializer, ...options }: GatedFeedForwardOptions = {}) {
    super();
    const linear: LinearOptions = { bias: false, ...options };
    this.gateProj = new Linear(hiddenSize, intermediateSize, linear);
    this.upProj = new Linear(hiddenSize, intermediateSize, linear);
    this.downProj = new Linear(
      intermediateSize,
      hiddenSize,
      outputInitializer ? { ...linear, initializer: outputInitializer } : linear,
    );
  }

  /** x [..., hidden] → [..., hidden] */
  forward(x: Tensor): Tensor {
    return this.downProj.forward(mul(silu(this.gateProj.forward(x)), this.upProj.forward(x)));
  }
}
