/** Parameters that several adapters may hold frozen at once. */

import type { Parameter } from "../graph/variable.js";

interface Held {
  holders: number;
  /** Whether it was trained before the first one. */
  readonly trainable: boolean;
}

const held = new WeakMap<Parameter, Held>();

/** Freezes a parameter until `release` has been called as often as this. */
export function hold(parameter: Parameter): void {
  const known = held.get(parameter);
  if (known) known.holders++;
  else held.set(parameter, { holders: 1, trainable: parameter.trainable });
  parameter.trainable = false;
}

export function release(parameter: Parameter): void {
  const known = held.get(parameter);
  if (!known || --known.holders > 0) return;
  held.delete(parameter);
  parameter.trainable = known.trainable;
}
