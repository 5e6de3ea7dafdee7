/** Settings of the Llama-style decoders, and which of them each member of the family has. */

import { ArgumentError } from "../../errors.js";
import type { ActivationName } from "../../nn/feed-forward.js";
import type { RopeScaling } from "../../nn/rope-scaling.js";
import type { LayerType } from "../causal-lm.js";
import { checkHeads, checkLayers } from "../settings-check.js";

/** Names as in Hugging Face's `LlamaConfig`, where it has the setting. */
export interface LlamaOptions {
  /** Which of the family it is: under which names it is saved. Default: the first that has the given settings. */
  readonly modelType?: LlamaModelType;
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width of the feed-forward blocks. Default: 8/3 · hiddenSize, rounded up to a multiple of 64. */
  readonly intermediateSize?: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Heads of keys and values; fewer than query heads for grouped-query attention. Default: as many. */
  readonly numKeyValueHeads?: number;
  /** Default: hiddenSize / numAttentionHeads. */
  readonly headDim?: number;
  /** The longest context. Default 2048. */
  readonly maxPositionEmbeddings?: number;
  readonly rmsNormEps?: number;
  /** Base of the rotary wavelengths. Default 10,000. */
  readonly ropeTheta?: number;
  /** How the wavelengths are stretched. Default: not at all. */
  readonly ropeScaling?: RopeScaling | null;
  /** Whether the output shares the embedding's weight. Default false. */
  readonly tieWordEmbeddings?: boolean;
  /** Standard deviation of the initial weights. Default 0.02. */
  readonly initializerRange?: number;
  /** Default "silu". */
  readonly hiddenAct?: ActivationName;
  /** Biases in attention: on all four maps, or on those to queries, keys and values. Default: none. */
  readonly attentionBias?: boolean | "queryKeyValue";
  /** Biases in the feed-forward blocks. Default: none. */
  readonly mlpBias?: boolean;
  /** RMSNorm on each head's queries and keys. Default false. */
  readonly queryKeyNorm?: boolean;
  /** How many keys, its own included, a query of a sliding layer sees. */
  readonly slidingWindow?: number | null;
  /** Which layers slide. Default: all when there is a `slidingWindow`. */
  readonly layerTypes?: readonly LayerType[] | null;
  /** For each layer 1 when it has rotary positions, 0 when it has none. Default: all have. */
  readonly noRopeLayers?: readonly (0 | 1)[] | null;
  /** A mixture of experts in place of the feed-forward block. Default: none. */
  readonly experts?: LlamaExperts | null;
  /** Share of attention weights dropped in training. Default 0. */
  readonly attentionDropout?: number;
}

export interface LlamaExperts {
  readonly count: number;
  /** How many of them each token goes through. */
  readonly perToken: number;
  readonly intermediateSize: number;
  /** Whether the weights of the chosen are divided by their sum. */
  readonly normalizeWeights: boolean;
  /** Experts that every token goes through besides. Default 0. */
  readonly shared?: number;
  /** Layers that keep the dense block. Default: none. */
  readonly denseLayers?: readonly number[];
  /** Weight of `loadBalancingLoss` in the training loss. */
  readonly balancing: number;
  /**
   * Whether that loss counts the choices of all layers together (default), or is one for each layer, added up, or for each layer and
   * text, the mean of the texts.
   */
  readonly balancedBy?: "model" | "layer" | "text";
}

export type LlamaConfig = Required<LlamaOptions>;

type Setting = "attentionBias" | "mlpBias" | "queryKeyNorm" | "slidingWindow" | "layerTypes" | "noRopeLayers" | "experts";

interface Member {
  /** Settings that all models of the member share. */
  readonly always: Partial<Pick<LlamaConfig, Setting>>;
  /** Settings that they may have. */
  readonly may: readonly Setting[];
}

/** The family by `model_type`. */
const family = {
  llama: { always: {}, may: ["attentionBias", "mlpBias"] },
  mistral: { always: {}, may: ["slidingWindow"] },
  qwen2: { always: { attentionBias: "queryKeyValue" }, may: ["slidingWindow", "layerTypes"] },
  qwen3: { always: { queryKeyNorm: true }, may: ["attentionBias", "slidingWindow", "layerTypes"] },
  smollm3: { always: {}, may: ["attentionBias", "mlpBias", "slidingWindow", "layerTypes", "noRopeLayers"] },
  mixtral: { always: {}, may: ["slidingWindow", "experts"] },
  qwen3_moe: { always: { queryKeyNorm: true }, may: ["attentionBias", "slidingWindow", "experts"] },
  minimind: { always: {}, may: ["queryKeyNorm", "experts"] },
} as const satisfies Readonly<Record<string, Member>>;

export type LlamaModelType = keyof typeof family;

const absent: Pick<LlamaConfig, Setting> = {
  attentionBias: false,
  mlpBias: false,
  queryKeyNorm: false,
  slidingWindow: null,
  layerTypes: null,
  noRopeLayers: null,
  experts: null,
};

/** The settings that a member cannot have as they were given. */
function foreignSettings(options: LlamaOptions, { always, may }: Member): readonly string[] {
  return (Object.keys(absent) as Setting[]).filter((setting) => {
    const given = options[setting];
    if (given === undefined || may.includes(setting)) return false;
    return given !== (always[setting] ?? absent[setting]);
  });
}

/** Settings as they are when nothing is said. Throws an ArgumentError where they contradict each other. */
export function completeLlama(options: LlamaOptions): LlamaConfig {
  const { hiddenSize, numAttentionHeads } = options;
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as unknown as LlamaOptions;
  const modelType = options.modelType ?? memberWith(given);
  const member: Member = family[modelType];
  const foreign = foreignSettings(given, member);
  if (foreign.length > 0) throw new ArgumentError(`Llama: a ${modelType} model has no such ${foreign.join(", ")}.`);
  const config: LlamaConfig = {
    intermediateSize: Math.ceil(((8 / 3) * hiddenSize) / 64) * 64,
    numKeyValueHeads: numAttentionHeads,
    headDim: hiddenSize / numAttentionHeads,
    maxPositionEmbeddings: 2048,
    rmsNormEps: 1e-6,
    ropeTheta: 10_000,
    ropeScaling: null,
    tieWordEmbeddings: false,
    initializerRange: 0.02,
    hiddenAct: "silu",
    attentionDropout: 0,
    ...absent,
    ...member.always,
    ...given,
    modelType,
  };
  if (config.vocabSize < 2)
    throw new ArgumentError(`Llama: a vocabulary needs at least 2 tokens, but vocabSize is ${config.vocabSize}.`);
  const { headDim, ...plain } = config;
  checkHeads("Llama", headDim === hiddenSize / numAttentionHeads ? plain : config);
  checkLayers("Llama", config.numHiddenLayers, { layerTypes: config.layerTypes, noRopeLayers: config.noRopeLayers });
  return config;
}

/** The first member that can have these settings. */
function memberWith(options: LlamaOptions): LlamaModelType {
  const [found] = Object.entries(family).find(([, member]) => foreignSettings(options, member).length === 0) ?? [];
  if (found) return found as LlamaModelType;
  const settings = (Object.keys(absent) as Setting[]).filter((setting) => options[setting] !== undefined);
  throw new ArgumentError(
    `Llama: no member of the family has all of ${settings.join(", ")} as given, so it could not be saved. There are ${Object.keys(family).join(", ")}.`,
  );
}
