/** What every model here is, whatever it reads and makes: a module with a `config.json`. */

import type { MatchOptions } from "../checkpoint/variable-match.js";
import type { Tensor } from "../graph/tensor.js";
import type { Embedding } from "../nn/linear.js";
import { Module } from "../nn/module.js";
import type { InputSpec } from "../program/signature.js";

/**
 * The kinds of models by name. Each is added where its class is defined:
 *
 * ```ts
 * declare module "./model.js" {
 *   interface ModelKinds { encoder: Encoder }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: filled by declaration merging
export interface ModelKinds {}

export type ModelKind = keyof ModelKinds;

/** A model of any kind. */
export type AnyModel = ModelKinds[ModelKind];

/** An output layer without a weight of its own. */
export interface TiedOutput {
  /** The embedding whose weight it computes with. */
  readonly embedding: Embedding;
  /** The property path that the layer would have. */
  readonly path: string;
  /** Its name in Python. */
  readonly name: string;
}

export abstract class Model extends Module {
  /** What it is used as. */
  abstract readonly kind: ModelKind;
  /** `model_type` in a Hugging Face `config.json`. */
  abstract readonly modelType: string;

  /** The name of a parameter in a Hugging Face checkpoint, before it is put into snake_case. */
  abstract checkpointPath(path: string): string;

  /** What another model like this one could be made with. */
  abstract toConfig(): object;

  /** How tensors are recognized in checkpoints of older releases, and of related classes. Default: by their names alone. */
  get checkpointMatch(): MatchOptions {
    return {};
  }

  /** The output layer, where it is an embedding once more: what is done to the one weight concerns two layers. */
  get tiedOutput(): TiedOutput | undefined {
    return undefined;
  }
}

/** One input of a kind of model, batch first. */
export interface ModelInput {
  readonly spec: InputSpec;
  readonly optional?: boolean;
}

/** How models of a kind are called by those who know nothing else of them: `tsumiki logits`, the inspection of values. */
export interface KindDescription<M extends Model> {
  inputs(model: M): Readonly<Record<string, ModelInput>>;
  /** What the model makes of its inputs, by name; the main output first. Those that are optional may be absent. */
  outputs(model: M, inputs: Readonly<Record<string, Tensor | undefined>>): Readonly<Record<string, Tensor>>;
}

const descriptions = new Map<ModelKind, KindDescription<Model>>();

/** Tells how models of a kind are called; once, where the kind is defined. */
export function defineModelKind<K extends ModelKind>(kind: K, description: KindDescription<ModelKinds[K]>): void {
  descriptions.set(kind, description as unknown as KindDescription<Model>);
}

export const modelKinds = (): readonly ModelKind[] => [...descriptions.keys()];

export function describeKind(model: Model): KindDescription<Model> {
  return descriptions.get(model.kind) as KindDescription<Model>; // a class of the kind exists, so its file has been loaded
}
