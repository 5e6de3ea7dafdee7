/** Every operator, forward and backward, on OpenVINO with its lowering, against the reference. */

import { describe, it } from "vitest";
import "../../graph/index.js";
import type { OpCase } from "../../graph/testing/cases.js";
import { describeOperators } from "../../graph/testing/describe-operators.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { openVino } from "./engine.js";

const absent = await whyNoOpenVino();

/** What OpenVINO does otherwise (docs/engines.md). */
const skip = ({ definition: { name }, index, kind }: OpCase): boolean =>
  (name === "topK" && index === 3) || // the order of equal elements
  (name === "matmul" && index === 3 && kind === "empty"); // a product of nothing with a factor behind it

/** Convolutions by filters whose sizes are known only while the program runs. */
const skipSymbolic = ({ definition: { name }, index }: OpCase): boolean =>
  (name === "conv" && index === 4) || (name === "convTranspose" && index === 2);

if (absent) describe.skip(`OpenVINO, ${absent}`, () => it("computes every operator", () => {}));
else describeOperators("OpenVINO", () => openVino({ threads: 2 }), { skip, skipSymbolic });
