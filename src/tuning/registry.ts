/** Tuning methods by name. A method is one file that ends with its registration. */

import * as z from "zod";
import { ArgumentError } from "../errors.js";
import type { Variable } from "../graph/variable.js";
import type { Module } from "../nn/module.js";
import type { Adapter } from "./adapter.js";

export interface TuningContext {
  /** Of initial values. */
  readonly seed: number;
}

export interface TuningMethod<O = unknown> {
  /** Lower case, as recipes say it. */
  readonly name: string;
  /** What a recipe may say besides the method's name. */
  readonly settings: z.ZodObject & z.ZodType<O>;
  /** Puts the method on a model, which is frozen from then on; the adapter's parameters are those to train. */
  apply(model: Module, settings: O, context: TuningContext): Adapter;
  /** For methods that Python's peft has too. */
  readonly peft?: PeftFormat;
}

/** How a method lies in the directories of Python's peft. */
export interface PeftFormat {
  /** `peft_type` in `adapter_config.json`. */
  readonly type: string;
  /**
   * Puts the adapter that a directory describes on a model; its values are read afterwards.
   *
   * @param shapes of the tensors in the file, by name
   * @throws TsumikiError CONFIG for settings that are not supported, CHECKPOINT for tensors that have no place in the model
   */
  restore(
    model: Module,
    config: Readonly<Record<string, unknown>>,
    shapes: ReadonlyMap<string, readonly number[]>,
  ): RestoredAdapter;
}

export interface RestoredAdapter {
  readonly adapter: Adapter;
  /** Tensors of the file that only repeat others, with the variable of the model that they must equal, if any. */
  readonly repeated: ReadonlyMap<string, Variable | undefined>;
}

const methods = new Map<string, TuningMethod>();

/** Makes a method known. Throws an ArgumentError where the name is taken. */
export function registerTuningMethod<O>(method: TuningMethod<O>): TuningMethod<O> {
  if (methods.has(method.name)) throw new ArgumentError(`There is a tuning method "${method.name}" already.`);
  methods.set(method.name, method as unknown as TuningMethod);
  return method;
}

export const tuningMethods = (): readonly TuningMethod[] => [...methods.values()];

export const methodOfPeftType = (type: string): TuningMethod | undefined =>
  tuningMethods().find(({ peft }) => peft?.type === type);

/** What a recipe says of its tuning: `{ method: "lora", rank: 8 }`. Made anew from the methods that are known. */
export type TuningSettings = { readonly method: string } & Readonly<Record<string, unknown>>;

/** The settings of every method that is known, told apart by `method`. */
export function tuningSettings(): z.ZodType<TuningSettings> {
  const [first, ...others] = tuningMethods().map(({ name, settings }) => settings.extend({ method: z.literal(name) }));
  if (!first) throw new ArgumentError("No tuning method is known.");
  return z.discriminatedUnion("method", [first, ...others]) as unknown as z.ZodType<TuningSettings>;
}

/**
 * Puts the method that a recipe names on a model.
 *
 * @throws ArgumentError for a method that is not known and for settings that it does not have
 */
export function applyTuning(model: Module, { method: name, ...given }: TuningSettings, context: TuningContext): Adapter {
  const method = methods.get(name);
  if (!method)
    throw new ArgumentError(`There is no tuning method ${JSON.stringify(name)}; there are ${[...methods.keys()].join(", ")}.`);
  const settings = method.settings.safeParse(given);
  if (!settings.success) throw new ArgumentError(`Tuning with ${name}:\n${z.prettifyError(settings.error)}`);
  return method.apply(model, settings.data, context);
}
