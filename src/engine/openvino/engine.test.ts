import { describe, it } from "vitest";
import { describeEngine } from "../testing/engine-contract.js";
import { whyNoOpenVino } from "../testing/openvino.js";
import { openVino } from "./engine.js";

const absent = await whyNoOpenVino();

if (absent) describe.skip(`OpenVINO, ${absent}`, () => it("keeps the contract of engines", () => {}));
else describeEngine("OpenVINO", () => openVino({ threads: 2 }), { without: [], computesWideIntegers: false });
