/** An engine whose runs, or reads, wait until a test lets them end. */

import type { Engine, LoadedModel, ModelSource } from "../engine.js";

export interface SlowEngine {
  readonly engine: Engine;
  /** Resolves when the next run, or read, has begun. */
  begun(): Promise<void>;
  /** Lets all that wait end, and what comes later pass. */
  letGo(): void;
}

/** What `slow` names waits before it does its work; everything else goes straight to `target`. */
export function slowEngine(target: Engine, slow: "run" | "read"): SlowEngine {
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  let letGo = () => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const wait = async () => {
    begin();
    await gate;
  };
  const load = async (source: ModelSource): Promise<LoadedModel> => {
    const model = await target.load(source);
    return {
      async run(inputs, outputs) {
        if (slow === "run") await wait();
        return model.run(inputs, outputs);
      },
      release: () => model.release(),
    };
  };
  const read: Engine["read"] = async (buffer) => {
    if (slow === "read") await wait();
    return target.read(buffer);
  };
  const own: Partial<Record<string | symbol, unknown>> = { load, read };
  const engine = new Proxy(target, {
    get(_, key) {
      const value = own[key] ?? (Reflect.get(target, key, target) as unknown);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { engine, begun: () => begun, letGo: () => letGo() };
}
