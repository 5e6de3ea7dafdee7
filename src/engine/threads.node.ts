/** How many threads an engine takes when nobody says. */

import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** Cores that Linux counts, each with its hyper-threads as one; `undefined` on other systems. */
function physicalCores(): number | undefined {
  try {
    const cpus = readdirSync("/sys/devices/system/cpu").filter((name) => /^cpu\d+$/.test(name));
    const siblings = cpus.map((cpu) =>
      readFileSync(`/sys/devices/system/cpu/${cpu}/topology/thread_siblings_list`, "utf8").trim(),
    );
    return new Set(siblings).size || undefined;
  } catch {
    return undefined;
  }
}

/** One a physical core: two hyper-threads share the units that multiply matrices. */
export const defaultThreads = (): number => Math.min(availableParallelism(), physicalCores() ?? Number.POSITIVE_INFINITY);
