/** How threads of Node are started, so that they run the same source as the process (Node). */

import type { WorkerOptions } from "node:worker_threads";

/** Node's options that decide how modules are found and read; those with a value have it behind `=` or as the next argument. */
const ofModules = /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C)(=|$)/;
const alone = /^(--enable-source-maps|--no-warnings|--experimental-(?!loader)[a-z-]+)$/;

/**
 * A worker inherits the options of its process, which is what it needs. Only where the program was given as text (`--input-type`) it
 * would fail by that; then it gets those that have to do with modules alone, since others (`--max-old-space-size`) are refused when
 * they are named.
 */
export function workerOptions(execArgv: readonly string[] = process.execArgv): Pick<WorkerOptions, "execArgv"> {
  if (!execArgv.some((option) => /^--input-type(=|$)/.test(option))) return {};
  const kept = execArgv.filter((option, i) => {
    const before = execArgv[i - 1] ?? "";
    return ofModules.test(option) || alone.test(option) || (ofModules.test(before) && !before.includes("="));
  });
  return { execArgv: kept };
}
