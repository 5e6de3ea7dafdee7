/** What package.test.ts compiles and runs where the packed package is installed. */

import * as graph from "tsumiki/graph";

// @ts-expect-error the published declarations know the dtypes
const wrong = (): unknown => graph.fromNumbers("float31", [2], [1, 2]);

const { shape } = graph.fromNumbers("float32", [2], [1, 2]);
console.log(shape[0] === 2 && wrong ? "ok" : "no");
