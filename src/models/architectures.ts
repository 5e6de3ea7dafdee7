/** Architectures by their `model_type`, and their configuration as Hugging Face's `config.json` has it. */

import * as z from "zod";
import { toCheckpointName } from "../checkpoint/names.js";
import type { MatchOptions } from "../checkpoint/variable-match.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { Variable } from "../graph/variable.js";
import type { CausalLM } from "./causal-lm.js";
import { cohere, cohere2 } from "./configs/cohere.js";
import type { Architecture, HuggingFaceConfig } from "./configs/entries.js";
import { gemma2, gemma3 } from "./configs/gemma.js";
import { bloom, gpt2, gptj, gptNeoX, phi, phi3 } from "./configs/gpt-family.js";
import { llamaFamily } from "./configs/llama-family.js";
import { olmo2 } from "./configs/olmo2.js";
import { recurrentLM } from "./decoders/recurrent-lm.js";

export type { HuggingFaceConfig } from "./configs/entries.js";

/** By `model_type`. */
const architectures: Record<string, Architecture> = {
  ...{ gpt2, gptj, gpt_neox: gptNeoX, bloom, phi, phi3 },
  ...llamaFamily,
  ...{ gemma2, gemma3_text: gemma3, olmo2, cohere, cohere2, recurrent_lm: recurrentLM },
};

/** The architectures that are known, by their `model_type`. */
export const knownArchitectures = (): readonly string[] => Object.keys(architectures);

/** Makes an architecture known: its directories are loaded and saved from now on. Throws an ArgumentError where the name is taken. */
export function registerArchitecture(modelType: string, architecture: Architecture): void {
  if (Object.hasOwn(architectures, modelType)) throw new ArgumentError(`There is an architecture "${modelType}" already.`);
  architectures[modelType] = architecture;
}

/**
 * The model that a `config.json` describes, with initial values.
 *
 * @param source names the configuration in errors
 * @throws TsumikiError CONFIG for an architecture that is not here, and for entries that are missing, wrong or not supported
 */
export function modelFromConfig(config: unknown, source = "The configuration"): CausalLM {
  const type = z.object({ model_type: z.string() }).safeParse(config);
  const architecture = type.success && Object.hasOwn(architectures, type.data.model_type) && architectures[type.data.model_type];
  if (!architecture) {
    const given = type.success ? `model_type ${JSON.stringify(type.data.model_type)}` : "no model_type";
    throw new TsumikiError("CONFIG", `${source} has ${given}; known are ${Object.keys(architectures).join(", ")}.`);
  }
  try {
    return architecture.read.parse(config);
  } catch (cause) {
    if (cause instanceof ArgumentError) throw new TsumikiError("CONFIG", `${source}: ${cause.message}`, { cause }); // sizes that clash
    if (!(cause instanceof z.ZodError)) throw cause;
    throw new TsumikiError("CONFIG", `${source} does not describe a model that can be made here:\n${z.prettifyError(cause)}`);
  }
}

/** The `config.json` of a model, as Python's transformers reads it. */
export function configOf(model: CausalLM): HuggingFaceConfig {
  const architecture = architectures[model.modelType];
  if (!architecture) throw new TsumikiError("CONFIG", `There is no config.json for a model of type ${model.modelType}.`);
  return {
    model_type: model.modelType,
    architectures: [architecture.className],
    ...architecture.write(model),
    // torch_dtype is what older releases call it. Without the null ids transformers would assume those of its own tokenizers.
    dtype: "float32",
    torch_dtype: "float32",
    bos_token_id: null,
    eos_token_id: null,
    pad_token_id: null,
  };
}

/** The variables of a model by their names in a Hugging Face checkpoint, shared ones once. */
export function checkpointVariables(model: CausalLM): Map<string, Variable> {
  const variables = new Map<string, Variable>();
  for (const [path, variable] of model.variables()) {
    variable.path ??= path; // the initial value of a variable that was never used depends on it
    variables.set(toCheckpointName(model.checkpointPath(path)), variable);
  }
  return variables;
}

/** How the tensors of other people's checkpoints are recognized. */
export function tensorMatch(model: CausalLM): MatchOptions {
  const names = checkpointVariables(model);
  const tied = !names.has("lm_head.weight") && !names.has("embed_out.weight");
  return {
    // A checkpoint of the decoder without its output has no prefix.
    otherNames: (name) => [
      name.replace(/^(transformer|model|gpt_neox)\./, ""),
      ...(name.startsWith("embed_out.") ? [name.replace("embed_out", "lm_head")] : []),
    ],
    // Masks and rotary frequencies that older releases of transformers kept; an output that is the embedding once more.
    ignore: (name) =>
      /(^|\.)((attn|attention)\.(masked_)?bias|rotary_emb\.inv_freq)$/.test(name) || (tied && name === "lm_head.weight"),
  };
}
