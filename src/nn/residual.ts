/** Where norms stand around a block whose output is added to what flows past it. */

import { add, mul } from "../graph/ops/arithmetic.js";
import type { Tensor } from "../graph/tensor.js";

/** What makes hidden states [..., hidden] of hidden states: a norm, attention, a feed-forward block; a module or a function. */
export type Block = { forward(x: Tensor): Tensor } | ((x: Tensor) => Tensor);

const through = (block: Block, x: Tensor): Tensor => (typeof block === "function" ? block(x) : block.forward(x));

/**
 * x + block(norm(x)): what flows past is never normalized, so that gradients reach every layer (Xiong et al. 2020, "On layer
 * normalization in the transformer architecture"; GPT-2, Llama).
 */
export const preNorm = (x: Tensor, norm: Block, block: Block): Tensor => add(x, through(block, through(norm, x)));

/**
 * norm(alpha · x + block(x)): the first transformer (Vaswani et al. 2017, section 3.1), and with an alpha above 1 DeepNorm (Wang et
 * al. 2022; see `deepNormConstants`).
 */
export const postNorm = (x: Tensor, norm: Block, block: Block, alpha = 1): Tensor =>
  through(norm, add(alpha === 1 ? x : mul(x, alpha), through(block, x)));

/** x + after(block(before(x))): also what a block adds is bounded (Ding et al. 2021, "CogView", section 2.4; Gemma 2). */
export const sandwichNorm = (x: Tensor, before: Block, block: Block, after: Block): Tensor =>
  add(x, through(after, through(block, through(before, x))));

/** x + Σ block(norm(x)): attention and feed-forward block at once, behind one norm (Wang & Komatsuzaki 2021, "GPT-J"; Cohere). */
export function parallelBlocks(x: Tensor, norm: Block, ...blocks: readonly Block[]): Tensor {
  const normalized = through(norm, x);
  return blocks.reduce((sum: Tensor, block) => add(sum, through(block, normalized)), x);
}
