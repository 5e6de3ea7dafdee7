/**
 * Programs that texts are made with. One holds a copy of its model's weights in memory of the engine, which no garbage collector
 * sees: so programs are counted, and freed when their texts are done. Those used last stay, ready for the next text.
 */

import type { Engine } from "../engine/engine.js";
import type { Tensor } from "../graph/tensor.js";
import type { CausalLM } from "../models/causal-lm.js";
import { compile, type Program } from "../program/compile.js";
import { int32 } from "../program/signature.js";

export type NextTokenProgram = Program<{ ids: ReturnType<typeof int32<[1, "seq"]>> }, { logits: Tensor }>;

/** How many programs without a text are kept: two models can take turns. */
const mostIdle = 2;

interface Entry {
  readonly program: NextTokenProgram;
  /** Texts that are being made with it. */
  texts: number;
  /** Removes it from its model's programs. */
  forget(): void;
}

/** One program for each model and engine. */
const programs = new WeakMap<CausalLM, Map<unknown, Entry>>();

/** Those without a text, the one used longest ago first. */
const idle = new Set<Entry>();

const forgotten = new FinalizationRegistry<Entry>((entry) => {
  idle.delete(entry);
  entry.program.release().catch(() => undefined); // nobody is there to be told
});

/** The program of a model for one text; `end` it when the text is done. */
export function useNextTokenProgram(
  model: CausalLM,
  engine?: Engine | Promise<Engine>,
): { readonly next: NextTokenProgram; end(): Promise<void> } {
  const entry = entryOf(model, engine);
  entry.texts++;
  idle.delete(entry);
  return {
    next: entry.program,
    async end() {
      if (--entry.texts > 0) return;
      idle.add(entry);
      const [oldest] = idle;
      if (idle.size <= mostIdle || !oldest) return;
      idle.delete(oldest);
      oldest.forget();
      await oldest.program.release();
    },
  };
}

function entryOf(model: CausalLM, engine?: Engine | Promise<Engine>): Entry {
  const ofModel = programs.get(model) ?? new Map<unknown, Entry>();
  programs.set(model, ofModel);
  const known = ofModel.get(engine);
  if (known) return known;
  const reference = new WeakRef(model); // the registry holds the program: through it the model would never go
  const program = compile(
    ({ ids }) => ({ logits: (reference.deref() as CausalLM).nextTokenLogits(ids) }),
    { ids: int32(1, "seq") },
    { frozen: true, training: false, ...(engine ? { engine } : {}) },
  );
  const entry: Entry = { program, texts: 0, forget: () => ofModel.delete(engine) };
  ofModel.set(engine, entry);
  forgotten.register(model, entry);
  return entry;
}
