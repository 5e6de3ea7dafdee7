/** The state of an optimizer in a safetensors file (Node). */

import type { Optimizer } from "../optim/optimizer.js";
import { locateTensors } from "./tensor-files.node.js";
import { loadVariables } from "./variables.node.js";

/**
 * Reads the state of an optimizer that `saveVariables` wrote. Files up to version 0.1, which hold small models as vectors without names,
 * are read in the order of the model's parameters.
 *
 * @throws TsumikiError CHECKPOINT for a file that does not fit, naming every tensor that is wrong
 */
export async function loadOptimizerState(path: string, optimizer: Optimizer): Promise<void> {
  const names = (await locateTensors(path)).keys();
  await loadVariables(path, optimizer.variablesNamed(names));
}
