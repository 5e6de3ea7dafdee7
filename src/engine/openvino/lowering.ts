/** What OpenVINO's CPU plugin prefers, and what it gets wrong. */

import type { Lowering } from "../engine.js";

export const openVinoLowering: Lowering = { faces: {}, passes: [] };
