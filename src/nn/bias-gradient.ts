/** The gradient of a bias of attention scores, put together from those of blocks. */

import { add } from "../graph/ops/arithmetic.js";
import { unbroadcast } from "../graph/ops/broadcasting.js";
import { reshape } from "../graph/ops/shape.js";
import { concat, padAxis } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import type { Block } from "./attention-blocks.js";
import type { Pair } from "./block-scores.js";
import type { ScoreSizes } from "./score-operand.js";

/** Summed over the axes along which the bias is the same for all; pairs come block by block. */
export class BiasGradient {
  /** Of one block each, all keys of the bias. */
  private readonly rows: { readonly block: Block; sum: Tensor }[] = [];

  constructor(
    /** As `groupedOperand` gives it. */
    private readonly bias: Tensor,
    private readonly sizes: ScoreSizes,
  ) {}

  /** @param dScores [batch, kvHeads, group · block, keys] of the pair */
  add(dScores: Tensor, { block, stretch }: Pair): void {
    const { bias, sizes } = this;
    const size = block.end - block.start;
    const perKey = sizes.group as number;
    const grouped = reshape(dScores, [dScores.size(0), dScores.size(1), perKey, size, dScores.size(3)]);
    const [ofQueries, ofKeys] = [bias.size(-2), bias.size(-1)];
    const width = ofKeys === 1 ? 1 : stretch.end - stretch.start;
    const shape = [...bias.shape.slice(0, -2), ofQueries === 1 ? 1 : size, width];
    const summed = unbroadcast(grouped, shape);
    const here = ofKeys === 1 ? summed : padAxis(summed, summed.rank - 1, stretch.start, (ofKeys as number) - stretch.end);
    // Where one row is for all queries, all blocks add to it.
    const row = ofQueries === 1 ? this.rows[0] : this.rows.find((other) => other.block === block);
    if (row) row.sum = add(row.sum, here);
    else this.rows.push({ block, sum: here });
  }

  result(): Tensor {
    return concat(
      this.rows.map(({ sum }) => sum),
      this.bias.rank - 2,
    );
  }
}
