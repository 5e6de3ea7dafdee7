/** Averages of weights over the steps of a training run, which often do better than the last weights. */

import { ArgumentError } from "../errors.js";
import { add, div, minimum, mul, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { equal } from "../graph/ops/compare.js";
import { where } from "../graph/ops/select.js";
import { type Parameter, Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";

export interface WeightAverageOptions {
  /** How much of the average stays at each update. Default 0.999. */
  readonly decay?: number;
  /** Whether early averages are shorter: the decay is at most (1 + n) / (10 + n) after n updates. Default false. */
  readonly warmUp?: boolean;
}

/**
 * The exponential moving average of a model's trained parameters (Polyak & Juditsky 1992; with this decay in Tarvainen & Valpola 2017,
 * "Mean teachers"). `update()` belongs into the compiled training step, behind the optimizer's. The first one takes the weights as they are.
 */
export class WeightAverage {
  readonly #decay: number;
  readonly #warmUp: boolean;
  readonly #averages: ReadonlyMap<string, { readonly parameter: Parameter; readonly average: Variable }>;
  readonly #count = new Variable([], { name: "averagedSteps" });

  constructor(model: Module, { decay = 0.999, warmUp = false }: WeightAverageOptions = {}) {
    if (!(decay >= 0 && decay < 1)) throw new ArgumentError(`The decay of an average lies in [0, 1), but ${decay} was given.`);
    this.#decay = decay;
    this.#warmUp = warmUp;
    const trained = [...model.parameters()].filter(([, { trainable }]) => trainable);
    this.#averages = new Map(
      trained.map(([path, parameter]) => {
        const dtype = parameter.dtype === "float64" ? "float64" : "float32"; // narrower ones would lose small changes
        return [path, { parameter, average: new Variable(parameter.shape, { dtype, name: `average.${path}` }) }];
      }),
    );
  }

  /** Records, while tracing, that the averages follow what the parameters are about to become. */
  update(): void {
    const bounded = this.#warmUp ? minimum(div(add(this.#count, 1), add(this.#count, 10)), this.#decay) : this.#decay;
    const kept = where(equal(this.#count, 0), 0, bounded);
    for (const { parameter, average } of this.#averages.values()) {
      const stays = cast(kept, average.dtype);
      average.assign(add(mul(average, stays), mul(cast(parameter.next(), average.dtype), sub(1, stays))));
    }
    this.#count.assign(add(this.#count, 1));
  }

  /** The averages by name, for checkpoints: `average.layers.0...`, `averagedSteps`. */
  variables(): ReadonlyMap<string, Variable> {
    const averages = [...this.#averages].map(([path, { average }]): [string, Variable] => [`average.${path}`, average]);
    return new Map([...averages, ["averagedSteps", this.#count]]);
  }

  /**
   * Exchanges weights and averages: before validating or saving the averaged model, and once more to train on.
   *
   * @throws ArgumentError before the first update, and for parameters that are neither float32 nor float64
   */
  async swap(): Promise<void> {
    if (((await this.#count.read()).data as Float32Array)[0] === 0)
      throw new ArgumentError("There is no average before the first update.");
    for (const [path, { parameter, average }] of this.#averages)
      if (parameter.dtype !== average.dtype)
        throw new ArgumentError(`The average of ${path} is ${average.dtype} and cannot take the place of ${parameter.dtype}.`);
    for (const { parameter, average } of this.#averages.values()) {
      const [weight, averaged] = [await parameter.read(), await average.read()];
      parameter.write(averaged);
      average.write(weight);
    }
  }
}
