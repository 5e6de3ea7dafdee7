/** Text from a model, piece by piece. */

import type { Engine } from "../engine/engine.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { namedRandom } from "../graph/random.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { useNextTokenProgram } from "./programs.js";
import { createSampler, type SamplingOptions } from "./sampler.js";

export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to add. Default 100. */
  readonly maxTokens?: number;
  /** Ends the text when one of these tokens is chosen; it is not part of the text. */
  readonly stopTokens?: readonly string[];
  /** Equal seeds give equal texts. Default 0. */
  readonly seed?: number;
  readonly engine?: Engine | Promise<Engine>;
  readonly signal?: AbortSignal;
}

/** Continues `prompt`. Yields pieces of text, whole characters each, without the prompt. */
export async function* generate(
  model: CausalLM,
  tokenizer: Tokenizer,
  prompt: string,
  options: GenerateOptions = {},
): AsyncGenerator<string> {
  const stops = new Set((options.stopTokens ?? []).map((token) => idOf(tokenizer, token)));
  const ids = tokenizer.encode(prompt);
  const decoder = tokenizer.decodeStream({ after: ids });
  for await (const id of generateTokens(model, ids, options)) {
    if (stops.has(id)) break;
    const piece = decoder.push(id);
    if (piece) yield piece;
  }
  const rest = decoder.end();
  if (rest) yield rest;
}

/** Continues token ids; the newest `contextLength` of them are looked at. Stop tokens are the caller's business. */
export async function* generateTokens(
  model: CausalLM,
  prompt: ArrayLike<number>,
  { maxTokens = 100, seed = 0, engine, signal, ...sampling }: Omit<GenerateOptions, "stopTokens"> = {},
): AsyncGenerator<number> {
  if (!Number.isInteger(maxTokens) || maxTokens < 0)
    throw new ArgumentError(`maxTokens is a whole number of at least 0, but ${maxTokens} was given.`);
  if (prompt.length === 0)
    throw new ArgumentError("The prompt has no tokens: a model continues at least one. Give it a first word.");
  const sample = createSampler(sampling);
  const random = namedRandom(seed, "sampling");
  const ids = Array.from(prompt);
  const { next, end } = useNextTokenProgram(model, engine);
  try {
    for (let i = 0; i < maxTokens; i++) {
      const window = ids.slice(-model.contextLength);
      const { logits } = await next(
        { ids: { dtype: "int32", shape: [1, window.length], data: Int32Array.from(window) } },
        signal ? { signal } : {},
      );
      const id = sample(logits.data as Float32Array, random);
      ids.push(id);
      yield id;
    }
  } finally {
    await end();
  }
}

function idOf(tokenizer: Tokenizer, token: string): number {
  const id = tokenizer.tokenToId(token);
  if (id === undefined) throw new TsumikiError("TOKENIZER", `The tokenizer has no token '${token}' to stop at.`);
  return id;
}
