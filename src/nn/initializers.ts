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

/** Outputs and inputs of a weight [out, in]; those of higher rank have a receptive field behind them. */
function fans(shape: readonly number[]): { readonly fanIn: number; readonly fanOut: number } {
  const [out = 1, into = 1, ...field] = shape;
  const size = field.reduce((a, b) => a * b, 1);
  return { fanIn: into * size, fanOut: out * size };
}

/** Keeps the variance of activations and of gradients through linear layers (Glorot & Bengio 2010, equation 16). */
export const xavierUniform =
  (gain = 1): Initializer =>
  (shape, random) => {
    const { fanIn, fanOut } = fans(shape);
    return uniform(gain * Math.sqrt(6 / (fanIn + fanOut)))(shape, random);
  };

export const xavierNormal =
  (gain = 1): Initializer =>
  (shape, random) => {
    const { fanIn, fanOut } = fans(shape);
    return normal(gain * Math.sqrt(2 / (fanIn + fanOut)))(shape, random);
  };

/** Keeps the variance of activations through layers with ReLU (He et al. 2015, equation 10). */
export const heNormal = (): Initializer => (shape, random) => normal(Math.sqrt(2 / fans(shape).fanIn))(shape, random);

/** Normal with standard deviation 1/√fan in (LeCun et al. 1998). */
export const lecunNormal = (): Initializer => (shape, random) => normal(Math.sqrt(1 / fans(shape).fanIn))(shape, random);

/** Normal, drawn again where it lies beyond `bound` standard deviations. */
export const truncatedNormal =
  (standardDeviation: number, bound = 2): Initializer =>
  (shape, random) => {
    const values = new Float32Array(elementCount(shape));
    for (let i = 0; i < values.length; i++) {
      let value = random.normal();
      while (Math.abs(value) > bound) value = random.normal();
      values[i] = standardDeviation * value;
    }
    return values;
  };

/** Smaller by 1/√(2·layers): of projections into the residual stream, so that its variance does not grow with the depth. */
export const scaledNormal = (standardDeviation: number, layers: number): Initializer =>
  normal(standardDeviation / Math.sqrt(2 * layers));
