/** OpenVINO for tests: it is not on every machine. */

import { TsumikiError } from "../../errors.js";
import { productPrecision } from "../arithmetic.js";
import { openVino } from "../openvino/engine.js";
import { findOpenVino } from "../openvino/library.node.js";

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

/** Why OpenVINO does not multiply in bfloat16 here; `undefined` where it does. */
export async function whyNoBfloat16(): Promise<string | undefined> {
  const absent = await whyNoOpenVino();
  if (absent !== undefined) return absent;
  const engine = await openVino({ threads: 1 });
  const precision = await productPrecision(engine, "bfloat16");
  await engine.close();
  return precision === "bfloat16" ? undefined : "skipped: no bfloat16 on this processor";
}
