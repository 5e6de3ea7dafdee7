/** Fills the noise inputs of programs. Element i is a pure function of (seed, name, step, micro-step, i). */

import { allocate } from "../graph/dtype.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import type { NoiseAttributes } from "../graph/leaves.js";
import { namedRandom } from "../graph/random.js";

export interface NoiseKey {
  readonly seed: number;
  /** Which training step this is; noise differs from step to step. */
  readonly step: number;
  /** Which part of an accumulated step. */
  readonly microStep: number;
}

export function drawNoise(
  { name, distribution }: NoiseAttributes,
  shape: readonly number[],
  { seed, step, microStep }: NoiseKey,
): HostArray {
  const random = namedRandom(seed, name, step, microStep);
  const length = elementCount(shape);
  if (distribution.kind === "bernoulli") {
    const data = allocate("bool", length);
    // Compared as integers: the probability in steps of 2^-32.
    const threshold = distribution.probability * 2 ** 32;
    for (let i = 0; i < length; i++) data[i] = random.bits() < threshold ? 1 : 0;
    return { dtype: "bool", shape, data };
  }
  const data = allocate("float32", length);
  const draw = distribution.kind === "normal" ? random.normal : uniformBelowOne(random.bits);
  for (let i = 0; i < length; i++) data[i] = draw();
  return { dtype: "float32", shape, data };
}

/** 24 bits, so that rounding to float32 cannot reach 1. */
const uniformBelowOne = (bits: () => number) => () => (bits() >>> 8) / 2 ** 24;
