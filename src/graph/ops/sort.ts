/** Elements of an axis in order. Equal ones keep theirs, but on OpenVINO. */

import { normalizeAxis } from "../dim.js";
import type { Tensor } from "../tensor.js";
import { topK } from "./topk.js";

export interface SortOptions {
  /** From the largest on. Default false. */
  readonly descending?: boolean;
}

/**
 * The elements of an axis in rising (or falling) order, and where each was (int64); the gradient goes back to there. Numbers of any shape;
 * no axis may be empty.
 */
export const sort = (
  x: Tensor,
  axis = -1,
  { descending = false }: SortOptions = {},
): { readonly values: Tensor; readonly indices: Tensor } =>
  topK(x, x.size(normalizeAxis(axis, x.rank)), axis, { largest: descending });

/** Where the elements of an axis are in rising (or falling) order, int64. */
export const argsort = (x: Tensor, axis = -1, options: SortOptions = {}): Tensor => sort(x, axis, options).indices;
