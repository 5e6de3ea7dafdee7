/** Which parameters an optimizer trains, and with what settings. */

import { ArgumentError } from "../errors.js";
import type { Parameter } from "../graph/variable.js";
import type { Module } from "../nn/module.js";

/** Settings for the parameters that a group matches; the first group that does counts. */
export interface ParameterGroup {
  readonly match: RegExp | ((path: string, parameter: Parameter) => boolean);
  /** Factor on the learning rate. Default 1. */
  readonly learningRateScale?: number;
  /** Default: the optimizer's. */
  readonly weightDecay?: number;
}

/** One parameter with what its group says of it. */
export interface Trained {
  readonly path: string;
  readonly parameter: Parameter;
  readonly learningRateScale: number;
  readonly weightDecay: number;
}

/** Vectors and scalars are not pulled towards 0: for norms and biases that has no good reason (Loshchilov & Hutter tune matrices). */
const defaultGroups: readonly ParameterGroup[] = [{ match: (_path, parameter) => parameter.rank < 2, weightDecay: 0 }];

const matches = ({ match }: ParameterGroup, path: string, parameter: Parameter): boolean =>
  match instanceof RegExp ? path.search(match) >= 0 : match(path, parameter);

/** The parameters of a model that are not frozen now. */
export function trainedParameters(
  model: Module,
  { weightDecay = 0, groups = defaultGroups }: { readonly weightDecay?: number; readonly groups?: readonly ParameterGroup[] },
): readonly Trained[] {
  const parameters = [...model.parameters()].filter(([, parameter]) => parameter.trainable);
  if (parameters.length === 0) throw new ArgumentError("The model has no parameter to train: it has none, or all are frozen.");
  return parameters.map(([path, parameter]) => {
    parameter.path ??= path;
    const group = groups.find((each) => matches(each, path, parameter));
    return {
      path,
      parameter,
      learningRateScale: group?.learningRateScale ?? 1,
      weightDecay: group?.weightDecay ?? weightDecay,
    };
  });
}

export interface LayerwiseOptions {
  /** Factor from each layer to the one before it, in (0, 1]. */
  readonly decay: number;
  /** How many layers there are between embeddings and head. */
  readonly layers: number;
  /** Of matrices; vectors are not decayed. Default: the optimizer's. */
  readonly weightDecay?: number;
  /**
   * 0 for what comes before the first layer, 1 to `layers` for the layers, `layers` + 1 for what comes after them. Default: by the first
   * number in the path; without one, embeddings come before and the rest after.
   */
  readonly depthOf?: (path: string) => number;
}

const isEmbedding = (path: string): boolean => /(^|\.)(wte|wpe|clsToken|patch\w*|\w*embed\w*)(\.|$)/i.test(path);

/**
 * Learning rates that fall from the head to the embeddings, for fine-tuning: decay^(layers + 1 − depth) (Clark et al. 2020, "ELECTRA",
 * appendix B; Bao et al. 2022, "BEiT", section 3.1).
 */
export function layerwiseGroups({ decay, layers, weightDecay, depthOf }: LayerwiseOptions): readonly ParameterGroup[] {
  if (!(decay > 0 && decay <= 1)) throw new ArgumentError(`A layer-wise decay lies in (0, 1], but ${decay} was given.`);
  const byPath = (path: string): number => {
    const layer = /(?:^|\.)(\d+)(?:\.|$)/.exec(path)?.[1];
    if (layer !== undefined) return Number(layer) + 1;
    return isEmbedding(path) ? 0 : layers + 1;
  };
  const depth = depthOf ?? byPath;
  return Array.from({ length: layers + 2 }, (_, at) => {
    const learningRateScale = decay ** (layers + 1 - at);
    const isHere = (path: string) => Math.min(Math.max(depth(path), 0), layers + 1) === at;
    return [
      { match: (path: string, { rank }: Parameter) => isHere(path) && rank < 2, learningRateScale, weightDecay: 0 },
      { match: isHere, learningRateScale, ...(weightDecay === undefined ? {} : { weightDecay }) },
    ];
  }).flat();
}
