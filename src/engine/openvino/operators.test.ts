import "../../graph/index.js";
import { describeOperators } from "../../graph/testing/describe-operators.js";
import { openVino } from "./engine.js";

describeOperators("OpenVINO", () => openVino({ threads: 2 }));
