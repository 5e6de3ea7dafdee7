/** Choosing the next token from its logits. */

import { ArgumentError, TsumikiError } from "../errors.js";
import type { NamedRandom } from "../graph/random.js";

export interface SamplingOptions {
  /** Divides the logits: below 1 sharper, above 1 flatter, 0 always the likeliest token. Default 1. */
  readonly temperature?: number;
  /** Only the k likeliest tokens (Fan et al. 2018). Default: all. */
  readonly topK?: number;
  /** Only the likeliest tokens that together reach this probability (Holtzman et al. 2020, "nucleus sampling"). Default 1. */
  readonly topP?: number;
}

/** Chooses a token. `random` is asked for one number at most. Throws NOT_FINITE when the logits do not tell which is likely. */
export type Sampler = (logits: ArrayLike<number>, random: NamedRandom) => number;

export function createSampler({ temperature = 1, topK, topP = 1 }: SamplingOptions = {}): Sampler {
  if (!(temperature >= 0)) throw new ArgumentError(`A temperature lies at or above 0, but ${temperature} was given.`);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    throw new ArgumentError(`topK is a whole number of at least 1, but ${topK} was given.`);
  if (!(topP > 0 && topP <= 1)) throw new ArgumentError(`topP lies in (0, 1], but ${topP} was given.`);
  if (temperature === 0 || topK === 1) return (logits) => likeliest(logits);
  return (logits, random) => {
    const candidates = nucleus(probabilities(logits, temperature, topK), topP);
    let rest = random.uniform() * candidates.reduce((sum, { probability }) => sum + probability, 0);
    for (const { token, probability } of candidates) {
      rest -= probability;
      if (rest < 0) return token;
    }
    return (candidates.at(-1) as Candidate).token;
  };
}

interface Candidate {
  readonly token: number;
  readonly probability: number;
}

const notFinite = (): TsumikiError =>
  new TsumikiError(
    "NOT_FINITE",
    "The logits are not finite: the model's weights hold NaN or infinite values, or it was trained to them.",
  );

/** The first of the largest. */
function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let token = 1; token < logits.length; token++) if ((logits[token] as number) > (logits[best] as number)) best = token;
  if (Number.isNaN(logits[best])) throw notFinite();
  return best;
}

/** Probabilities of the k likeliest tokens, the likeliest first, among themselves. */
function probabilities(logits: ArrayLike<number>, temperature: number, topK = logits.length): readonly Candidate[] {
  const order = Array.from({ length: logits.length }, (_, token) => token).sort(
    (a, b) => (logits[b] as number) - (logits[a] as number),
  );
  const kept = order.slice(0, topK);
  const largest = logits[kept[0] as number] as number;
  const weights = kept.map((token) => Math.exp(((logits[token] as number) - largest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!Number.isFinite(total)) throw notFinite();
  return kept.map((token, i) => ({ token, probability: (weights[i] as number) / total }));
}

/** The shortest prefix whose probabilities reach `topP`. */
function nucleus(candidates: readonly Candidate[], topP: number): readonly Candidate[] {
  let sum = 0;
  const last = candidates.findIndex(({ probability }) => {
    sum += probability;
    return sum >= topP;
  });
  return last < 0 ? candidates : candidates.slice(0, last + 1);
}
