/** Architectures by their `model_type` and kind, and their configuration as Hugging Face's `config.json` has it. */

import * as z from "zod";
import { toCheckpointName } from "../checkpoint/names.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { Variable } from "../graph/variable.js";
import { cohere, cohere2 } from "./configs/cohere.js";
import type { Architecture, HuggingFaceConfig } from "./configs/entries.js";
import { gemma2, gemma3 } from "./configs/gemma.js";
import { bloom, gpt2, gptj, gptNeoX, phi, phi3 } from "./configs/gpt-family.js";
import { llamaFamily } from "./configs/llama-family.js";
import { olmo2 } from "./configs/olmo2.js";
import { recurrentLM } from "./decoders/recurrent-lm.js";
import { bert, bertClassifier, bertMaskedLM } from "./encoders/bert.js";
import type { AnyModel, Model, ModelKind, ModelKinds } from "./model.js";
import { vit, vitClassifier } from "./vision/vit.js";

export type { HuggingFaceConfig } from "./configs/entries.js";

const decoders: Readonly<Record<string, Architecture>> = {
  ...{ gpt2, gptj, gpt_neox: gptNeoX, bloom, phi, phi3 },
  ...llamaFamily,
  ...{ gemma2, gemma3_text: gemma3, olmo2, cohere, cohere2, recurrent_lm: recurrentLM },
};

/** By `model_type`; the first of several is what a `config.json` means that names no class. */
const architectures = new Map<string, readonly Architecture[]>([
  ...Object.entries(decoders).map(([modelType, decoder]): [string, readonly Architecture[]] => [modelType, [decoder]]),
  ["bert", [bert, bertMaskedLM, bertClassifier]],
  ["vit", [vit, vitClassifier]],
]);

/** The architectures that are known, by their `model_type`; of one kind, where one is given. */
export const knownArchitectures = (kind?: ModelKind): readonly string[] =>
  [...architectures].filter(([, known]) => known.some((one) => kind === undefined || one.kind === kind)).map(([type]) => type);

/**
 * Makes an architecture known: its directories are loaded and saved from now on. Throws an ArgumentError where the `model_type` has one
 * of the same kind.
 */
export function registerArchitecture(modelType: string, architecture: Architecture): void {
  const known = architectures.get(modelType) ?? [];
  if (known.some(({ kind }) => kind === architecture.kind))
    throw new ArgumentError(`There is an architecture "${modelType}" of the kind "${architecture.kind}" already.`);
  architectures.set(modelType, [...known, architecture]);
}

const named = z.object({ model_type: z.string(), architectures: z.array(z.string()).nullish().catch(null) });

/** The architecture of a `config.json`: of the given kind, or of the class that it names, or the first of its `model_type`. */
function architectureOf(config: unknown, source: string, kind: ModelKind | undefined): Architecture {
  const type = named.safeParse(config);
  const known = type.success ? architectures.get(type.data.model_type) : undefined;
  if (!type.success || !known) {
    const given = type.success ? `model_type ${JSON.stringify(type.data.model_type)}` : "no model_type";
    throw new TsumikiError("CONFIG", `${source} has ${given}; known are ${knownArchitectures(kind).join(", ")}.`);
  }
  const ofClass = known.find(({ className }) => type.data.architectures?.includes(className));
  const found = kind === undefined ? (ofClass ?? known[0]) : known.find((one) => one.kind === kind);
  if (found) return found;
  throw new TsumikiError(
    "CONFIG",
    `${source} has model_type ${JSON.stringify(type.data.model_type)}, which is known here as ${known.map((one) => one.kind).join(", ")}, but not as ${kind}.`,
  );
}

/** Far beyond any model there is; a configuration with more would fill the memory before its weights are looked at. */
const limits: readonly (readonly [names: RegExp, most: number])[] = [
  [/^(n_layers?|num_layers|num_hidden_layers|layers)$/, 10_000],
  [/^(num_local_experts|num_experts|n_routed_experts|n_shared_experts|num_attention_heads|n_head|num_key_value_heads)$/, 100_000],
  [/_size$|_dim$|^n_embd$|^n_inner$|^vocab_size$|^image_size$/, 1_000_000_000],
];

function checkLimits(config: object, source: string): void {
  for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(config)))
    for (const [names, most] of limits)
      if (typeof value === "number" && value > most && names.test(name))
        throw new TsumikiError(
          "CONFIG",
          `${source} says ${name}: ${value}, but no model has more than ${most.toLocaleString("en-US")}.`,
        );
}

/**
 * The model that a `config.json` describes, with initial values.
 *
 * @param source names the configuration in errors
 * @param kind Default: what the configuration says
 * @throws TsumikiError CONFIG for an architecture that is not here, and for entries that are missing, wrong or not supported
 */
export function modelFromConfig<K extends ModelKind>(config: unknown, source: string | undefined, kind: K): ModelKinds[K];
export function modelFromConfig(config: unknown, source?: string, kind?: ModelKind): AnyModel;
export function modelFromConfig(config: unknown, source = "The configuration", kind?: ModelKind): AnyModel {
  const architecture = architectureOf(config, source, kind);
  checkLimits(config as object, source);
  try {
    return architecture.read.parse(config) as AnyModel;
  } catch (cause) {
    if (cause instanceof ArgumentError) throw new TsumikiError("CONFIG", `${source}: ${cause.message}`, { cause }); // sizes that clash
    if (!(cause instanceof z.ZodError)) throw cause;
    throw new TsumikiError("CONFIG", `${source} does not describe a model that can be made here:\n${z.prettifyError(cause)}`);
  }
}

/** The `config.json` of a model, as Python's transformers reads it. */
export function configOf(model: Model): HuggingFaceConfig {
  const architecture = architectures.get(model.modelType)?.find(({ kind }) => kind === model.kind);
  if (!architecture)
    throw new TsumikiError("CONFIG", `There is no config.json for a model of type ${model.modelType} and kind ${model.kind}.`);
  return {
    model_type: model.modelType,
    architectures: [architecture.className],
    ...architecture.write(model),
    // torch_dtype is what older releases call it. Without the null ids transformers would assume those of its own tokenizers.
    dtype: "float32",
    torch_dtype: "float32",
    ...(model.kind === "causal-lm" ? { bos_token_id: null, eos_token_id: null, pad_token_id: null } : {}),
  };
}

/** The variables of a model by their names in a Hugging Face checkpoint, shared ones once. */
export function checkpointVariables(model: Model): Map<string, Variable> {
  const variables = new Map<string, Variable>();
  for (const [path, variable] of model.variables()) {
    variable.path ??= path; // the initial value of a variable that was never used depends on it
    variables.set(toCheckpointName(model.checkpointPath(path)), variable);
  }
  return variables;
}
