/** Saved models in a page: loaded from an address. */

import { decodeSafetensors } from "../checkpoint/safetensors-format.js";
import { convertFloats, matchTensors } from "../checkpoint/variable-match.js";
import { fetchBytes } from "../data/fetch-bytes.js";
import { TsumikiError } from "../errors.js";
import type { HostArray } from "../graph/host-array.js";
import { checkpointVariables, modelFromConfig } from "./architectures.js";
import type * as node from "./saved-model.node.js";
import type { LoadModelOptions } from "./saved-model.node.js";

export type { LoadModelOptions, SaveModelOptions } from "./saved-model.node.js";

export const saveModel: typeof node.saveModel = async (_model, directory) => {
  throw new TsumikiError(
    "ARGUMENT",
    `A page cannot write the directory ${directory}. Offer the bytes of encodeSafetensors as a download.`,
  );
};

/** The model whose `config.json` and `model.safetensors` lie below an address. */
export const loadModel: typeof node.loadModel = async (directory: string, { weights, kind }: LoadModelOptions = {}) => {
  const base = directory.endsWith("/") ? directory : `${directory}/`;
  const configUrl = `${base}config.json`;
  const model = modelFromConfig(parseJson(await fetchBytes(configUrl), configUrl), configUrl, kind);
  const weightsUrl = weights ?? `${base}model.safetensors`;
  const { tensors } = decodeSafetensors(await fetchBytes(weightsUrl), weightsUrl);
  for (const [name, repeated] of model.checkpointMatch.repeats ?? [])
    if (tensors.has(name) && !sameValues(tensors.get(name), tensors.get(repeated)))
      throw new TsumikiError(
        "CHECKPOINT",
        `${weightsUrl} has a ${name} that is not ${repeated}, but ${configUrl} ties them: set tie_word_embeddings to false there.`,
      );
  for (const [variable, name] of matchTensors(weightsUrl, tensors, checkpointVariables(model), model.checkpointMatch))
    variable.write(convertFloats(tensors.get(name) as HostArray, variable.dtype));
  return model as never; // of the kind that was asked for
};

function sameValues(a: HostArray | undefined, b: HostArray | undefined): boolean {
  if (a?.data.length !== b?.data.length) return false;
  return [...(a?.data ?? [])].every((value, i) => value === b?.data[i]);
}

function parseJson(bytes: Uint8Array, url: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new TsumikiError("CONFIG", `${url} is not JSON: ${(cause as Error).message}`, { cause });
  }
}
