/** OpenVINO for tests: it is not on every machine. */

import { TsumikiError } from "../../errors.js";
import { findOpenVino } from "../openvino/library.js";

/** Why there is no OpenVINO here; `undefined` where there is one. A chosen folder that holds none is an error. */
export async function whyNoOpenVino(): Promise<string | undefined> {
  try {
    await findOpenVino();
    return undefined;
  } catch (error) {
    if (error instanceof TsumikiError && error.code === "ENGINE_ABSENT") return "skipped: OpenVINO not found";
    throw error;
  }
}
