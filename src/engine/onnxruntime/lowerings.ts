/** Which lowering goes with which device. */

import { type Device, type Lowering, noLowering } from "../engine.js";
import { cpuLowering } from "./lowering-cpu.js";

export const loweringFor = (device: Device): Lowering => (device === "cpu" ? cpuLowering : noLowering);
