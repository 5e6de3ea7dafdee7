import type { Handle, OpenVino } from "./c-api.js";
import { loadOpenVino } from "./c-api.js";

export async function findOpenVino(): Promise<{ library: OpenVino; core: Handle; version: string }> {
  const library = await loadOpenVino(`${process.env.TSUMIKI_OPENVINO}/libopenvino_c.so.2641`);
  return { library, core: library.createCore(), version: library.version() };
}
