/** The passes that every program goes through, in order, whatever engine runs it. */

import type { Graph, Pass } from "../../graph/graph.js";
import { broadcastInOperators } from "./broadcast-in-operators.js";
import { commonSubexpressions } from "./common-subexpressions.js";
import { simplify } from "./simplify.js";
import { transposeIntoMatmul } from "./transpose-into-matmul.js";

export { broadcastInOperators, commonSubexpressions, simplify, transposeIntoMatmul };

/** Dead code needs no pass: a graph is what its outputs need. */
export const standardPasses: readonly Pass[] = [simplify, transposeIntoMatmul, broadcastInOperators, commonSubexpressions];

export const optimize = (graph: Graph): Graph => standardPasses.reduce((current, pass) => pass(current), graph);
