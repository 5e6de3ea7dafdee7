import { describeEngine } from "../testing/engine-contract.js";
import { openVino } from "./engine.js";

describeEngine("OpenVINO", () => openVino({ threads: 2 }));
