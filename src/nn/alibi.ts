/** Attention with linear biases (Press et al. 2022, "Train short, test long"): scores fall with the distance. */

import { addDims, type Dim } from "../graph/dim.js";
import type { FloatDType } from "../graph/dtype.js";
import { constant } from "../graph/leaves.js";
import { abs, mul, neg, sub } from "../graph/ops/arithmetic.js";
import { cast } from "../graph/ops/cast.js";
import { range } from "../graph/ops/range.js";
import { reshape } from "../graph/ops/shape.js";
import type { Tensor } from "../graph/tensor.js";
import { lookaheadOf, type Mask, type Meeting } from "./mask.js";

/**
 * What each head subtracts from its scores for each position of distance: 2^(−8/n), 2^(−16/n), ... for n heads, a power of two;
 * otherwise those of the power below, and every second one of the power above.
 */
export function alibiSlopes(heads: number): readonly number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const geometric = (count: number) => Array.from({ length: count }, (_, i) => 2 ** ((-8 * (i + 1)) / count));
  const between = geometric(2 * power).filter((_, i) => i % 2 === 0);
  return [...geometric(power), ...between].slice(0, heads);
}

/**
 * slope · (key − last key), [kvHeads, group, 1, keys], for queries that see no key after them. A softmax does not notice what a whole
 * row has in common, so the place of the query need not be known: its distance to a key differs from this by the same number for every key.
 *
 * @param later keys that come after these and count as well
 */
function alibiBias(slopes: readonly number[], kvHeads: number, keys: Dim, later: Dim, dtype: FloatDType): Tensor {
  const fromLast = sub(cast(range(keys, "int32"), dtype), cast(range(1, "int32", addDims(keys, later, -1)), dtype));
  return mul(perHead(slopes, kvHeads, dtype), fromLast);
}

/** −slope · |query − key|, [kvHeads, group, queries, keys], for queries that see keys on both sides. */
function symmetricAlibiBias(slopes: readonly number[], kvHeads: number, meeting: Meeting, dtype: FloatDType): Tensor {
  const { firstQuery, queries, offset, firstKey, keys } = meeting;
  const queryPlaces = reshape(range(queries, "int32", addDims(firstQuery, offset)), [queries, 1]);
  const distance = cast(abs(sub(queryPlaces, range(keys, "int32", firstKey))), dtype);
  return neg(mul(perHead(slopes, kvHeads, dtype), distance));
}

/**
 * What slopes add to scores, [kvHeads, group, queries or 1, keys].
 *
 * @param later keys behind those that meet which count as well
 * @param exact whether rows are compared with something else, so that what a whole row has in common counts
 */
export const distanceBias = (
  slopes: readonly number[],
  kvHeads: number,
  mask: Mask,
  meeting: Meeting,
  { later = 0, exact, dtype }: { readonly later?: Dim; readonly exact: boolean; readonly dtype: FloatDType },
): Tensor =>
  !exact && lookaheadOf(mask) <= 0 && mask.prefix === undefined
    ? alibiBias(slopes, kvHeads, meeting.keys, later, dtype)
    : symmetricAlibiBias(slopes, kvHeads, meeting, dtype);

/** [kvHeads, group, 1, 1] */
function perHead(slopes: readonly number[], kvHeads: number, dtype: FloatDType): Tensor {
  const group = slopes.length / kvHeads;
  return constant(
    Array.from({ length: kvHeads }, (_, h) => slopes.slice(h * group, (h + 1) * group).map((slope) => [[slope]])),
    dtype,
  );
}
