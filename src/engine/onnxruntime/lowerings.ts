/** Which lowering goes with which device. */

import { type Device, type Lowering, noLowering } from "../engine.js";

export const loweringFor = (_device: Device): Lowering => noLowering;
