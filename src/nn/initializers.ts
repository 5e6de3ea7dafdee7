/** Initial values of parameters. Each is drawn from a stream of its own, named by seed and path. */

import { elementCount } from "../graph/host-array.js";
import type { Initializer } from "../graph/variable.js";

/** Normal with mean 0 and the given standard deviation. */
export const normal =
  (standardDeviation: number): Initializer =>
  (shape, random) => {
    const values = new Float32Array(elementCount(shape));
    for (let i = 0; i < values.length; i++) values[i] = standardDeviation * random.normal();
    return values;
  };

/** Uniform in [−bound, bound). */
export const uniform =
  (bound: number): Initializer =>
  (shape, random) => {
    const values = new Float32Array(elementCount(shape));
    for (let i = 0; i < values.length; i++) values[i] = bound * (2 * random.uniform() - 1);
    return values;
  };

export const constantValue =
  (value: number): Initializer =>
  (shape) =>
    new Float32Array(elementCount(shape)).fill(value);

export const zeros = constantValue(0);
export const ones = constantValue(1);
