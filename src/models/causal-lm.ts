/** What every decoder-only language model can do, whatever its architecture. */

import { toCheckpointName } from "../checkpoint/names.js";
import type { MatchOptions } from "../checkpoint/variable-match.js";
import { type Dim, subDims } from "../graph/dim.js";
import { range } from "../graph/ops/range.js";
import { select } from "../graph/ops/shape-slice.js";
import type { Tensor } from "../graph/tensor.js";
import type { LayerCache, Mask } from "../nn/attention.js";
import { Embedding, Linear } from "../nn/linear.js";
import { logitsLosses, type TrainingLosses } from "../nn/linear-cross-entropy.js";
import type { RopeScaling } from "../nn/rope-scaling.js";
import { Rotary } from "../nn/rotary.js";
import { bool, int32 } from "../program/signature.js";
import { defineModelKind, Model, type TiedOutput } from "./model.js";

/** Keys and values of earlier calls, for all layers. */
export interface KeyValueCache {
  /** Positions that are already in it. */
  readonly length: Dim;
  layer(index: number): LayerCache;
}

export interface ForwardOptions {
  readonly cache?: KeyValueCache;
  /** Which keys are real and not padding, bool [batch, keys]. Default: all. */
  readonly keys?: Tensor;
  /** The document of each position where several are packed into a row, int [batch, seq]: none sees another, and 0 is padding. Not with a cache. */
  readonly segments?: Tensor;
  /** The position of each id, int [batch, seq]. Default: 0, 1, 2, ... after what is in the cache. */
  readonly positions?: Tensor;
}

export interface LossOptions extends ForwardOptions {
  /** Coefficient of (log Σ exp(logits))², which keeps logits from drifting (Chowdhery et al. 2022, "PaLM"). Default 0. */
  readonly zLoss?: number;
}

/** A model of the next token: logits for training, evaluation and generation. */
export abstract class CausalLM extends Model {
  readonly kind = "causal-lm" as const;
  /** The most positions that the model can look at. */
  abstract readonly contextLength: number;
  abstract readonly vocabSize: number;
  /** ids [batch, seq] → hidden states after the last norm [batch, seq, hidden] */
  abstract hiddenStates(ids: Tensor, options?: ForwardOptions): Tensor;

  /** hidden [..., hidden] → logits [..., vocab], each position by itself; often through the embedding's weight */
  abstract logits(hidden: Tensor): Tensor;

  /** Where the model has no output layer of its own, the first table with a row for each token. */
  override get tiedOutput(): TiedOutput | undefined {
    const modules = [...this.modules()];
    const hasRowForEach = ({ weight }: Linear | Embedding) => weight.shape[0] === this.vocabSize;
    if (modules.some(([path, module]) => module instanceof Linear && !path.includes(".") && hasRowForEach(module)))
      return undefined;
    const embedding = modules.map(([, module]) => module).find((module) => module instanceof Embedding && hasRowForEach(module));
    const path = this.modelType === "gpt_neox" ? "embedOut" : "lmHead";
    return embedding instanceof Embedding ? { embedding, path, name: toCheckpointName(path) } : undefined;
  }

  /** A decoder without its output has no prefix; masks and rotary frequencies that older releases of transformers kept are passed over. */
  override get checkpointMatch(): MatchOptions {
    const names = new Set([...this.variables().keys()].map((path) => toCheckpointName(this.checkpointPath(path))));
    const embedding = [...names].find((name) => /(^|\.)(embed_tokens|wte|embed_in|word_embeddings)\.weight$/.test(name));
    const tied = !names.has("lm_head.weight") && !names.has("embed_out.weight") ? embedding : undefined;
    return {
      otherNames: (name) => [
        name.replace(/^(transformer|model|gpt_neox)\./, ""),
        ...(name.startsWith("embed_out.") ? [name.replace("embed_out", "lm_head")] : []),
      ],
      ignore: (name) =>
        /(^|\.)((attn|attention)\.(masked_)?bias|rotary_emb\.inv_freq)$/.test(name) ||
        (tied !== undefined && name === "lm_head.weight"),
      repeats: new Map(tied === undefined ? [] : [["lm_head.weight", tied]]),
    };
  }

  /** ids [batch, seq] → logits [batch, seq, vocab]: what follows each position. */
  forward(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return this.logits(this.hiddenStates(ids, options));
  }

  /** ids [batch, seq] → logits [batch, vocab] of what follows the last position. */
  nextTokenLogits(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return this.within(() => {
      const last = select(this.hiddenStates(ids, options), 1, subDims(ids.size(1), 1)); // [batch, hidden]
      return this.logits(last);
    });
  }

  /**
   * Mean cross-entropy in nats per token, and what training adds to it. The same as of `forward`'s logits, but these never exist all
   * at once.
   *
   * @param labels [batch, seq] the next token at each position; −100 where it does not count
   */
  loss(ids: Tensor, labels: Tensor, options: LossOptions = {}): Tensor {
    return this.losses(ids, labels, options).loss;
  }

  /** The same, with the cross-entropy alone beside it. */
  losses(ids: Tensor, labels: Tensor, options: LossOptions = {}): TrainingLosses {
    return this.within(() => this.lossOfHidden(this.hiddenStates(ids, options), labels, options));
  }

  /** The same from hidden states [batch, seq, hidden]. */
  lossOfHidden(hidden: Tensor, labels: Tensor, { zLoss }: Pick<LossOptions, "zLoss"> = {}): TrainingLosses {
    return logitsLosses(hidden, (rows) => this.logits(rows), labels, zLoss);
  }
}

declare module "./model.js" {
  interface ModelKinds {
    "causal-lm": CausalLM;
  }
}

defineModelKind("causal-lm", {
  inputs: () => ({ ids: { spec: int32("batch", "seq") }, mask: { spec: bool("batch", "seq"), optional: true } }),
  outputs: (model, { ids, mask }) => ({ logits: model.forward(ids as Tensor, mask ? { keys: mask } : {}) }),
});

/** Whether a layer looks at all keys or through a window, as `layer_types` of `config.json` says it. */
export type LayerType = "full_attention" | "sliding_attention";

/** How far a model can look: scalings that stretch positions evenly reach further than what they stretch. */
export const contextOf = (maxPositionEmbeddings: number, scaling?: RopeScaling | null): number =>
  scaling?.ropeType === "linear" || scaling?.ropeType === "dynamic"
    ? Math.floor(maxPositionEmbeddings * scaling.factor)
    : maxPositionEmbeddings;

/** The mask of causal attention, with padding and documents where there are any. */
export const causalMask = ({ keys, segments }: ForwardOptions): Mask => ({
  causal: true,
  ...(keys ? { keys } : {}),
  ...(segments ? { segments } : {}),
});

/** The positions of ids [batch, seq]: those that are given, [batch, seq], or the ones that follow the cache, [seq]. */
export const positionsOf = (ids: Tensor, { positions, cache }: ForwardOptions): Tensor =>
  positions ?? range(ids.size(1), "int64", cache?.length ?? 0);

interface RotarySettings {
  readonly headDim: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling | null;
  readonly maxPositionEmbeddings: number;
  /** Share of a head's features that is rotated. Default 1. */
  readonly partialRotaryFactor?: number;
  readonly interleaved?: boolean;
}

/** The rotation of a call, as a configuration says it. */
export const rotaryOf = (ids: Tensor, options: ForwardOptions, settings: RotarySettings): Rotary =>
  new Rotary(positionsOf(ids, options), {
    headDim: settings.headDim,
    rotaryDim: Math.floor(settings.headDim * (settings.partialRotaryFactor ?? 1)),
    interleaved: settings.interleaved ?? false,
    theta: settings.ropeTheta,
    scaling: settings.ropeScaling ?? undefined,
    maxPositionEmbeddings: settings.maxPositionEmbeddings,
  });

/** A property path in which some steps have other names in checkpoints. */
export const renamed = (path: string, names: Readonly<Record<string, string>>): string =>
  path
    .split(".")
    .map((step) => names[step] ?? step)
    .join(".");
