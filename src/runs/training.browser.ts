/** A page has no run directories: it trains with `train`. */

import { TsumikiError } from "../errors.js";
import type * as node from "./training.node.js";

export type { Generate, RunResult, RunSample, RunTrainingOptions } from "./training.node.js";

export const runTraining: typeof node.runTraining = async () => {
  throw new TsumikiError(
    "ARGUMENT",
    "A page has no files to keep a run in. Use train(), and take what you need from its callbacks.",
  );
};
