/** What optimizers keep for each parameter between steps. */

import { ArgumentError } from "../errors.js";
import { elementCount } from "../graph/host-array.js";
import { isHiddenMatrix } from "../optim/muon.js";

export interface ParameterShape {
  readonly path: string;
  readonly shape: readonly number[];
}

/** Elements (float32) that an optimizer keeps for a parameter. */
type StateElements = (parameter: ParameterShape) => number;

const perElement =
  (states: number): StateElements =>
  ({ shape }) =>
    states * elementCount(shape);

const stateElements = {
  /** Two moments (Kingma & Ba 2015; Loshchilov & Hutter 2019). */
  adamw: perElement(2),
  /** One moment (Chen et al. 2023). */
  lion: perElement(1),
  /** One moment for matrices inside the model (Jordan et al. 2024); AdamW for the others. */
  muon: (parameter: ParameterShape) => perElement(isHiddenMatrix(parameter.path, parameter) ? 1 : 2)(parameter),
  /** Gradient descent without momentum. */
  sgd: perElement(0),
  "sgd-momentum": perElement(1),
  /** Sums of squares of rows and of columns of matrices, without a first moment (Shazeer & Stern 2018). */
  adafactor: ({ shape }: ParameterShape) => {
    if (shape.length < 2) return elementCount(shape);
    const columns = shape.at(-1) as number;
    const rows = shape.at(-2) as number;
    return shape.length === 2 ? rows + columns : (elementCount(shape) / (rows * columns)) * (rows + columns);
  },
} satisfies Record<string, StateElements>;

export type OptimizerName = keyof typeof stateElements;

export const optimizerNames = Object.keys(stateElements) as readonly OptimizerName[];

/** @throws ArgumentError for an optimizer that is not known */
export function optimizerElements(name: string, parameters: Iterable<ParameterShape>): number {
  if (!Object.hasOwn(stateElements, name))
    throw new ArgumentError(`The optimizer ${JSON.stringify(name)} is not known; known are ${optimizerNames.join(", ")}.`);
  const elements = stateElements[name as OptimizerName];
  let total = 0;
  for (const parameter of parameters) total += elements(parameter);
  return total;
}
