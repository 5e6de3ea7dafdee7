/** Settings that contradict each other are refused when a model is made, by their names, and not when it first computes. */

import { ArgumentError } from "../errors.js";
import type { RopeScaling } from "../nn/rope-scaling.js";
import type { LayerType } from "./causal-lm.js";

/** `hiddenSize 16, numAttentionHeads 3` */
const listed = (settings: Readonly<Record<string, number>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");

/** Throws an ArgumentError where `shared`, such as `{ hiddenSize: 16 }`, is no multiple of `among`, such as `{ numAttentionHeads: 3 }`. */
export function checkShared(
  model: string,
  shared: Readonly<Record<string, number>>,
  among: Readonly<Record<string, number>>,
): void {
  const [[whole], [parts]] = [Object.values(shared), Object.values(among)] as unknown as readonly [[number], [number]];
  if (whole % parts !== 0) throw new ArgumentError(`${model}: ${listed(shared)} cannot be shared by ${listed(among)} evenly.`);
}

interface Rotation {
  /** How many of a head's features are turned. */
  readonly rotaryDim: number;
  readonly headDim: number;
  readonly scaling?: RopeScaling | null;
  /** What the sizes follow from. */
  readonly settings: Readonly<Record<string, number>>;
}

/** Throws an ArgumentError where features cannot be turned in pairs, or a scaling is for another number of pairs. */
export function checkRotation(model: string, { rotaryDim, headDim, scaling, settings }: Rotation): void {
  if (!Number.isInteger(rotaryDim) || rotaryDim % 2 !== 0 || rotaryDim > headDim)
    throw new ArgumentError(
      `${model}: rotary positions turn features in pairs, but here they would turn ${rotaryDim} of a head's ${headDim} (${listed(settings)}).`,
    );
  if (scaling?.ropeType !== "longrope") return;
  for (const name of ["shortFactor", "longFactor"] as const)
    if (scaling[name].length !== rotaryDim / 2)
      throw new ArgumentError(
        `${model}: ${name} has ${scaling[name].length} values, but ${rotaryDim / 2} pairs of a head's features are turned (${listed(settings)}).`,
      );
}

interface HeadSettings {
  readonly hiddenSize: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads?: number;
  /** Where it is not hiddenSize / numAttentionHeads. */
  readonly headDim?: number;
  readonly partialRotaryFactor?: number;
  readonly ropeScaling: RopeScaling | null;
}

/** Throws an ArgumentError where a model's heads do not fit its width, each other, or its rotary positions. */
export function checkHeads(model: string, config: HeadSettings): void {
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, partialRotaryFactor, ropeScaling: scaling } = config;
  if (config.headDim === undefined) checkShared(model, { hiddenSize }, { numAttentionHeads });
  if (numKeyValueHeads !== undefined) checkShared(model, { numAttentionHeads }, { numKeyValueHeads });
  const { headDim = hiddenSize / numAttentionHeads } = config;
  const settings = {
    ...(config.headDim === undefined ? { hiddenSize, numAttentionHeads } : { headDim }),
    ...(partialRotaryFactor === undefined ? {} : { partialRotaryFactor }),
  };
  checkRotation(model, { rotaryDim: Math.floor(headDim * (partialRotaryFactor ?? 1)), headDim, scaling, settings });
}

/** Throws an ArgumentError where settings for each layer, such as `{ layerTypes }`, end before the layers do. */
export function checkLayers(
  model: string,
  numHiddenLayers: number,
  perLayer: Readonly<Record<string, readonly LayerType[] | readonly number[] | null>>,
): void {
  for (const [name, settings] of Object.entries(perLayer))
    if (settings && settings.length < numHiddenLayers)
      throw new ArgumentError(
        `${model}: ${name} tells about ${settings.length} layers, but numHiddenLayers is ${numHiddenLayers}.`,
      );
}
