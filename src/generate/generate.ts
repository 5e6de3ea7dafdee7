/** Text from a model, piece by piece. */

import type { Engine } from "../engine/engine.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { namedRandom } from "../graph/random.js";
import type { Tensor } from "../graph/tensor.js";
import type { CausalLM } from "../models/causal-lm.js";
import { compile, type Program } from "../program/compile.js";
import { int32 } from "../program/signature.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
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
  const { maxTokens = 100, stopTokens = [], seed = 0 } = options;
  if (!Number.isInteger(maxTokens) || maxTokens < 0)
    throw new ArgumentError(`maxTokens is a whole number of at least 0, but ${maxTokens} was given.`);
  const stops = new Set(stopTokens.map((token) => idOf(tokenizer, token)));
  const decoder = tokenizer.decodeStream();
  for await (const id of generateTokens(model, tokenizer.encode(prompt), { ...options, seed })) {
    if (stops.has(id)) break;
    const piece = decoder.push(id);
    if (piece) yield piece;
  }
  const rest = decoder.end();
  if (rest) yield rest;
}

/** Continues token ids; the newest `contextLength` of them are looked at. */
export async function* generateTokens(
  model: CausalLM,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<number> {
  if (prompt.length === 0)
    throw new ArgumentError("The prompt has no tokens: a model continues at least one. Give it a first word.");
  const sample = createSampler(options);
  const random = namedRandom(options.seed ?? 0, "sampling");
  const next = nextTokenProgram(model, options.engine);
  const ids = Array.from(prompt);
  for (let i = 0; i < (options.maxTokens ?? 100); i++) {
    const window = ids.slice(-model.contextLength);
    const { logits } = await next(
      { ids: { dtype: "int32", shape: [1, window.length], data: Int32Array.from(window) } },
      options.signal ? { signal: options.signal } : {},
    );
    const id = sample(logits.data as Float32Array, random);
    ids.push(id);
    yield id;
  }
}

type NextTokenProgram = Program<{ ids: ReturnType<typeof int32<[1, "seq"]>> }, { logits: Tensor }>;

/** One program for each model and engine; it goes when the model does. */
const programs = new WeakMap<CausalLM, Map<unknown, NextTokenProgram>>();

function nextTokenProgram(model: CausalLM, engine?: Engine | Promise<Engine>): NextTokenProgram {
  const known = programs.get(model) ?? new Map<unknown, NextTokenProgram>();
  programs.set(model, known);
  const program =
    known.get(engine) ??
    compile(
      ({ ids }) => ({ logits: model.nextTokenLogits(ids) }),
      { ids: int32(1, "seq") },
      { frozen: true, training: false, ...(engine ? { engine } : {}) },
    );
  known.set(engine, program);
  return program;
}

function idOf(tokenizer: Tokenizer, token: string): number {
  const id = tokenizer.tokenToId(token);
  if (id === undefined) throw new TsumikiError("TOKENIZER", `The tokenizer has no token '${token}' to stop at.`);
  return id;
}
