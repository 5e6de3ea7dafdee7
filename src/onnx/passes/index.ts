/** The passes that every program goes through, in order, whatever engine runs it. */

import type { Graph, Pass } from "../../graph/graph.js";
import { broadcastInOperators } from "./broadcast-in-operators.js";
import { commonSubexpressions } from "./common-subexpressions.js";
import { bfloat16Products, type Precision } from "./precision.js";
import { simplify } from "./simplify.js";
import { transposeIntoMatmul } from "./transpose-into-matmul.js";

export { bfloat16Products, broadcastInOperators, commonSubexpressions, type Precision, simplify, transposeIntoMatmul };

/** Dead code needs no pass: a graph is what its outputs need. */
export const standardPasses: readonly Pass[] = [simplify, transposeIntoMatmul, broadcastInOperators, commonSubexpressions];

/** After the others: it must see which products there are and what they read. Equal casts become one. */
const precisionPasses: Readonly<Record<Precision, readonly Pass[]>> = {
  fp32: [],
  bf16: [bfloat16Products, commonSubexpressions],
};

/** @param precision what products of matrices are computed in. Default fp32: as the graph says */
export const optimize = (graph: Graph, precision: Precision = "fp32"): Graph =>
  [...standardPasses, ...precisionPasses[precision]].reduce((current, pass) => pass(current), graph);
