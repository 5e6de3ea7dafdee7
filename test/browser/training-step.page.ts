/** Training steps in a page; `training-step.test.ts` calls this. */

import { stepPeer } from "../../bench/peers/tsumiki-step.js";
import type { LlamaWorkload } from "../../bench/workloads.js";
import { createEngine, defaultEngine, type EngineOptions } from "../../src/engine/index.js";

export interface Training {
  /** Of each step after the first. */
  readonly losses: readonly number[];
  readonly device: string;
  readonly threads: number;
  /** How often a timer of this thread had its turn meanwhile, and the longest time it had to wait [ms]. */
  readonly ticks: number;
  readonly longestPause: number;
  readonly seconds: number;
  readonly engineSeconds: number;
  readonly compileSeconds: number;
}

/** Trains from the workload's starting values on its batches; on the default engine when there are no options. */
export async function trainSteps(workload: LlamaWorkload, steps: number, options?: EngineOptions): Promise<Training> {
  const engine = await (options ? createEngine(options) : defaultEngine());
  const peer = await stepPeer(engine, workload, {});
  const losses: number[] = [];
  let ticks = 0;
  let longestPause = 0;
  let lastTick = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longestPause = Math.max(longestPause, now - lastTick);
    lastTick = now;
    ticks++;
  }, 10);
  const begun = performance.now();
  let engineSeconds = 0;
  for (let step = 0; step < steps; step++) {
    const { loss, seconds, overheadSeconds } = await peer.run(1);
    losses.push(loss as number);
    engineSeconds += seconds - (overheadSeconds ?? 0);
  }
  clearInterval(timer);
  const seconds = (performance.now() - begun) / 1000;
  const { device, threads } = engine;
  await engine.close();
  return { losses, device, threads, ticks, longestPause, seconds, engineSeconds, compileSeconds: peer.ready.compileSeconds };
}
