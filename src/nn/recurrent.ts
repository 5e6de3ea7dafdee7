/**
 * Recurrent networks: a state that is carried from step to step. With cells of three kinds, in several layers, in one direction
 * or both. A loop inside the graph (`scan`), so that sequences may be of any length.
 */

import { ArgumentError } from "../errors.js";
import { add, mul, sigmoid, sub, tanh } from "../graph/ops/arithmetic.js";
import { zeros } from "../graph/ops/fill.js";
import { matmul } from "../graph/ops/matmul.js";
import { transpose } from "../graph/ops/shape.js";
import { concat, split } from "../graph/ops/shape-slice.js";
import { scan } from "../graph/scan.js";
import type { Tensor } from "../graph/tensor.js";
import { Parameter } from "../graph/variable.js";
import { dropout } from "./dropout.js";
import { uniform } from "./initializers.js";
import { Module } from "./module.js";

/** A step: what the input and the state give, each [batch, gates · hidden], and the state [batch, hidden] → the next state. */
interface Cell {
  readonly gates: number;
  /** How many tensors the state is; the first is what comes out. */
  readonly states: number;
  readonly step: (fromInput: Tensor, fromState: Tensor, state: readonly Tensor[]) => readonly Tensor[];
}

const parts = (x: Tensor, count: number): readonly Tensor[] => split(x, count, 1);

const cells = {
  /** h ← tanh(W·x + U·h) (Elman 1990). */
  rnn: { gates: 1, states: 1, step: (x, h) => [tanh(add(x, h))] },
  /**
   * Reset, update and candidate: n = tanh(W·x + r·(U·h)), h ← (1 − z)·n + z·h (Cho et al. 2014), the reset behind the
   * product, as PyTorch and cuDNN have it.
   */
  gru: {
    gates: 3,
    states: 1,
    step(x, h, [state]) {
      const [xr, xz, xn] = parts(x, 3) as unknown as readonly [Tensor, Tensor, Tensor];
      const [hr, hz, hn] = parts(h, 3) as unknown as readonly [Tensor, Tensor, Tensor];
      const update = sigmoid(add(xz, hz));
      const candidate = tanh(add(xn, mul(sigmoid(add(xr, hr)), hn)));
      return [add(candidate, mul(update, sub(state as Tensor, candidate)))];
    },
  },
  /** Input, forget, candidate and output: c ← f·c + i·g, h ← o·tanh(c) (Hochreiter & Schmidhuber 1997; Gers et al. 2000). */
  lstm: {
    gates: 4,
    states: 2,
    step(x, h, [, memory]) {
      const [input, forget, candidate, output] = parts(add(x, h), 4) as unknown as readonly [Tensor, Tensor, Tensor, Tensor];
      const next = add(mul(sigmoid(forget), memory as Tensor), mul(sigmoid(input), tanh(candidate)));
      return [mul(sigmoid(output), tanh(next)), next];
    },
  },
} as const satisfies Readonly<Record<string, Cell>>;

export type CellKind = keyof typeof cells;

/** One layer in one direction. Weights and gates stand as in PyTorch. */
export class RecurrentDirection extends Module {
  /** [gates · hidden, input] and [gates · hidden, hidden] */
  readonly weightIh: Parameter;
  readonly weightHh: Parameter;
  readonly biasIh: Parameter;
  readonly biasHh: Parameter;
  readonly #cell: Cell;
  readonly #hiddenSize: number;
  readonly #reverse: boolean;

  constructor(kind: CellKind, inputSize: number, hiddenSize: number, reverse: boolean) {
    super();
    const cell = cells[kind];
    const rows = cell.gates * hiddenSize;
    const initializer = uniform(1 / Math.sqrt(hiddenSize));
    this.weightIh = new Parameter([rows, inputSize], { initializer });
    this.weightHh = new Parameter([rows, hiddenSize], { initializer });
    this.biasIh = new Parameter([rows], { initializer });
    this.biasHh = new Parameter([rows], { initializer });
    this.#cell = cell;
    this.#hiddenSize = hiddenSize;
    this.#reverse = reverse;
  }

  /** x [seq, batch, input] → [seq, batch, hidden] */
  forward(x: Tensor): Tensor {
    const fromInputs = add(matmul(x, this.weightIh, { transposeB: true }), this.biasIh); // all steps in one product
    const start = Array.from({ length: this.#cell.states }, () => zeros([x.size(1), this.#hiddenSize], x.dtype));
    const { outputs } = scan(
      (state, [fromInput]) => {
        const fromState = add(matmul(state[0] as Tensor, this.weightHh, { transposeB: true }), this.biasHh);
        const next = this.#cell.step(fromInput as Tensor, fromState, state);
        return { carry: next, outputs: [next[0] as Tensor] as const };
      },
      { carry: start, sequences: [fromInputs], reverse: this.#reverse },
    );
    return outputs[0];
  }
}

export interface RecurrentOptions {
  /** Layers on top of each other (Graves et al. 2013). Default 1. */
  readonly layers?: number;
  /** A second network reads from the end, and both outputs stand side by side (Schuster & Paliwal 1997). Default false. */
  readonly bidirectional?: boolean;
  /** Dropout between layers. Default 0. */
  readonly dropout?: number;
}

/** A deep recurrent network. */
export class Recurrent extends Module {
  readonly layers: readonly (readonly RecurrentDirection[])[];
  /** Width of the output. */
  readonly outputSize: number;
  readonly #dropout: number;

  constructor(
    kind: CellKind,
    inputSize: number,
    hiddenSize: number,
    { layers = 1, bidirectional = false, dropout: dropped = 0 }: RecurrentOptions = {},
  ) {
    super();
    if (!Object.hasOwn(cells, kind))
      throw new ArgumentError(`There is no cell "${kind as string}"; there are ${Object.keys(cells).join(", ")}.`);
    this.outputSize = hiddenSize * (bidirectional ? 2 : 1);
    const directions = bidirectional ? [false, true] : [false];
    this.layers = Array.from({ length: layers }, (_, layer) =>
      directions.map((reverse) => new RecurrentDirection(kind, layer === 0 ? inputSize : this.outputSize, hiddenSize, reverse)),
    );
    this.#dropout = dropped;
  }

  /** x [batch, seq, input] → [batch, seq, outputSize] */
  forward(x: Tensor): Tensor {
    let y = transpose(x, [1, 0, 2]);
    for (const [i, directions] of this.layers.entries()) {
      if (i > 0) y = dropout(y, this.#dropout, `layer${i}`);
      const outputs = directions.map((direction) => direction.forward(y));
      y = outputs.length === 1 ? (outputs[0] as Tensor) : concat(outputs, 2);
    }
    return transpose(y, [1, 0, 2]);
  }
}
