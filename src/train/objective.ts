/**
 * Objectives: what a model learns from which data. One is a file in `objectives/` and a registration; from there it is a recipe, a command
 * and a row in the documentation.
 */

import * as z from "zod";
import type { BatchSource } from "../data/batch-source.js";
import type { Example, ExampleKind } from "../data/example.js";
import type { TokenDocuments } from "../data/tokens/token-documents.js";
import { ArgumentError } from "../errors.js";
import type { Model, ModelKind, ModelKinds } from "../models/model.js";
import type { Signature } from "../program/signature.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { Adapter } from "../tuning/index.js";
import { type Companion, companionModel } from "./companions.js";
import type { Losses, Traced } from "./losses.js";
import type { Task } from "./trainer.js";

/** How rows of tokens are cut from documents. */
export interface RowLayout {
  /** Tokens in a row. */
  readonly context: number;
  readonly packing: "windows" | "bestFit" | "padded";
  /** The part of the data that is kept for validation; 0 for none. */
  readonly validationShare: number;
}

/** What an objective makes its batches of. What it does not ask for is neither read nor made. */
export interface DataContext<O = unknown> {
  readonly settings: O;
  /** The model that is to be trained. */
  readonly model: Model;
  readonly layout: RowLayout;
  /** @throws TsumikiError ARGUMENT where none was given */
  readonly tokenizer: Tokenizer;
  /** The examples in order, of the kinds that the objective accepts; they can be read again. */
  examples(): AsyncIterable<Example>;
  /** Its own split of a corpus whose rows are no examples, such as pictures with labels. */
  rows<T>(corpus: string, split: "train" | "validation"): AsyncIterable<T>;
  /** Texts as tokens, encoded once. */
  documents(): Promise<TokenDocuments>;
}

/** What a loss is computed with besides the model and the batch: the settings, and the companions by their names. */
export type LossContext<K extends ModelKind, O> = { readonly settings: O } & Readonly<Record<Companion, ModelKinds[K]>>;

export interface Objective<K extends ModelKind = ModelKind, O = unknown, S extends Signature = Signature> {
  readonly name: string;
  /** One line for people. */
  readonly description: string;
  /** The kind of model that it trains. */
  readonly kind: K;
  readonly settings: z.ZodType<O>;
  /** Kinds of examples that it learns from; none where it reads rows of a corpus. */
  readonly accepts: readonly ExampleKind[];
  /** Frozen models that it needs beside the one that is trained. */
  readonly companions?: readonly Companion[];
  source(context: DataContext<O>): Promise<BatchSource<S>>;
  /** @throws TsumikiError ARGUMENT where the model cannot learn from such a source */
  check?(model: ModelKinds[K], source: BatchSource<S>): void;
  loss(model: ModelKinds[K], batch: Traced<S>, context: LossContext<K, O>): Losses;
  /** What a validation reports besides its loss. */
  summarize?(loss: number, source: BatchSource<S>): Readonly<Record<string, number>>;
}

/** An objective with its settings. */
export interface ChosenObjective<K extends ModelKind = ModelKind, O = unknown, S extends Signature = Signature> {
  readonly objective: Objective<K, O, S>;
  readonly settings: O;
}

/** Makes an objective with the given settings; what is left out has its default. */
export interface ObjectiveMaker<K extends ModelKind, O, S extends Signature, I> {
  (settings?: I): ChosenObjective<K, O, S>;
  readonly objective: Objective<K, O, S>;
}

const objectives = new Map<string, Objective>();

/** The objectives that are known, by name. */
export const knownObjectives = (): readonly Objective[] => [...objectives.values()];

/** @throws TsumikiError ARGUMENT for a name that no objective has */
export function objectiveNamed(name: string): Objective {
  const found = objectives.get(name);
  if (!found)
    throw new ArgumentError(`There is no objective ${JSON.stringify(name)}. There are ${[...objectives.keys()].join(", ")}.`);
  return found;
}

/**
 * Defines and registers an objective.
 *
 * @throws TsumikiError ARGUMENT where the name is taken
 */
export function defineObjective<K extends ModelKind, Z extends z.ZodType, S extends Signature>(
  definition: Omit<Objective<K, z.output<Z>, S>, "settings"> & { readonly settings: Z },
): ObjectiveMaker<K, z.output<Z>, S, z.input<Z>> {
  const objective = definition as unknown as Objective<K, z.output<Z>, S>;
  if (objectives.has(objective.name)) throw new ArgumentError(`There is an objective "${objective.name}" already.`);
  objectives.set(objective.name, objective as unknown as Objective);
  return Object.assign((settings: unknown = {}) => ({ objective, settings: parseSettings(objective, settings) }), { objective });
}

function parseSettings<O>(objective: Pick<Objective<ModelKind, O>, "name" | "settings">, given: unknown): O {
  const parsed = objective.settings.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new ArgumentError(`The settings of ${objective.name} cannot be followed:\n${z.prettifyError(parsed.error)}`);
}

/** The companions that a task is made with. */
export type Companions = Partial<Readonly<Record<Companion, Model>>>;

/**
 * What a trainer needs of an objective, a model and a source.
 *
 * @param options.tuning an adapter on the model; without it, the model is the reference where one is needed and none is given
 * @throws TsumikiError ARGUMENT where the model is of another kind, or a companion is missing
 */
export function taskOf<K extends ModelKind, O, S extends Signature>(
  { objective, settings }: ChosenObjective<K, O, S>,
  model: Model,
  source: BatchSource<S>,
  { companions = {}, tuning }: { readonly companions?: Companions | undefined; readonly tuning?: Adapter | undefined } = {},
): Task {
  if (model.kind !== objective.kind)
    throw new ArgumentError(`${objective.name} trains a ${objective.kind}, but the model is a ${model.kind}.`);
  const needed = objective.companions ?? [];
  // The model before the tuning is the model without its adapter.
  const bare = tuning && needed.includes("reference") && !companions.reference;
  const missing = needed.filter((name) => !companions[name] && !(name === "reference" && bare));
  if (missing.length > 0) throw new ArgumentError(`${objective.name} needs a ${missing.join(" and a ")} beside the model.`);
  objective.check?.(model as unknown as ModelKinds[K], source);
  const beside = Object.entries(companions).map(([name, companion]) => [
    name,
    companionModel(name as Companion, companion as Model),
  ]);
  if (bare) beside.push(["reference", companionModel("reference", model, (fn) => tuning.without(fn))]);
  const context = { settings, ...Object.fromEntries(beside) } as LossContext<K, O>;
  return {
    source,
    loss: (batch: Traced<S>) => objective.loss(model as unknown as ModelKinds[K], batch, context),
    ...(objective.summarize && { summarize: (loss: number) => objective.summarize?.(loss, source) ?? {} }),
  } as unknown as Task;
}
