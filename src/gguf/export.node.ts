/** Models as GGUF files, which llama.cpp and what is built on it run. */

import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { GGUFValueType, serializeGgufMetadata } from "@huggingface/gguf";
import { ArgumentError, TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";
import { writeFully } from "../files/bytes.node.js";
import { elementCount } from "../graph/host-array.js";
import type { Variable } from "../graph/variable.js";
import { checkpointVariables, configOf, type HuggingFaceConfig } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { bytesOf, checkRows, type WritableType, writableTypes } from "./element-types.js";
import { architectureOfModel, type GgufArchitecture, ggufName, reorderRows, rotatedHeads, settingNames } from "./layout.js";
import { bool, float32, float32s, int32s, type MetadataEntry, signedBytes, text, texts, uint32 } from "./metadata.js";
import { type GgufRope, ggufRope, headDimOf, ropeThetaOf, rotaryDimOf } from "./rope.js";
import { ggufTokenizer } from "./tokenizer.js";

export type GgufDType = keyof typeof writableTypes;

export interface ExportGgufOptions {
  /** What matrices are written in; vectors stay float32. Default "float32". */
  readonly dtype?: GgufDType;
  /** What the file says its model is called. */
  readonly name?: string;
}

interface TensorPlan {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: WritableType;
  readonly values: () => Promise<Float32Array>;
}

/**
 * Writes a Llama-like model and its tokenizer as a GGUF file, one tensor at a time in memory.
 *
 * @throws TsumikiError CONFIG for an architecture, a setting or a size that llama.cpp has no place for; TOKENIZER for a
 * tokenizer that is neither byte-level BPE nor SentencePiece's
 */
export async function exportGguf(
  model: CausalLM,
  tokenizer: Tokenizer,
  path: string,
  options: ExportGgufOptions = {},
): Promise<void> {
  const { dtype = "float32", name = "model" } = options;
  if (!Object.hasOwn(writableTypes, dtype))
    throw new ArgumentError(
      `The dtype ${JSON.stringify(dtype)} cannot be written as GGUF; ${Object.keys(writableTypes).join(", ")} can.`,
    );
  const config = configOf(model);
  const architecture = architectureOfModel(model.modelType);
  const rope = ggufRope(config, architecture.name);
  const tensors = [...planTensors(model, config, architecture, writableTypes[dtype]), ...planTables(rope)];
  const entries = new Map<string, MetadataEntry>([
    ["general.architecture", text(architecture.name)],
    ["general.name", text(name)],
    ["general.alignment", uint32(alignment)],
    ["general.file_type", uint32(writableTypes[dtype].fileType)],
    ...modelEntries(config, rope).map(([key, entry]) => [`${architecture.name}.${key}`, entry] as const),
    ...tokenizerEntries(tokenizer, model.vocabSize),
  ]);
  const header = headerBytes(entries, tensors);
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, async (file) => {
    await writeFully(file, header);
    for (const tensor of tensors) {
      const bytes = tensor.type.encode(await tensor.values());
      await writeFully(file, bytes);
      await writeFully(file, new Uint8Array(padding(bytes.length)));
    }
  });
}

const alignment = 32;
const padding = (bytes: number): number => (alignment - (bytes % alignment)) % alignment;

/** Entries without the architecture before their names. */
function modelEntries(config: HuggingFaceConfig, rope: GgufRope): (readonly [string, MetadataEntry])[] {
  refuseSettings(config);
  const number = (key: string) => config[key] as number;
  const headDim = headDimOf(config);
  const settings = Object.entries(settingNames).map(([key, from]): [string, MetadataEntry] => {
    const value = from === "head_dim" ? headDim : number(from);
    return [key, from === "rms_norm_eps" ? float32(value) : uint32(value)];
  });
  const window = config.model_type === "phi3" ? config.sliding_window : null;
  return [
    ...settings,
    ...(typeof window === "number" ? [["attention.sliding_window", uint32(window)] as const] : []),
    ["attention.value_length", uint32(headDim)],
    ["rope.dimension_count", uint32(rotaryDimOf(config))],
    ["rope.freq_base", float32(ropeThetaOf(config))],
    ...Object.entries(rope.entries),
    ["vocab_size", uint32(number("vocab_size"))],
  ];
}

/** What llama.cpp would compute in another way, in silence. */
function refuseSettings(config: HuggingFaceConfig): void {
  const { hidden_act: activation, sliding_window: window, use_sliding_window: used, max_position_embeddings: context } = config;
  const refused: string[] = [];
  if (activation !== undefined && activation !== "silu") refused.push(`hidden_act ${JSON.stringify(activation)} (it has silu)`);
  if (typeof window === "number" && used !== false && window < (context as number))
    refused.push(`sliding_window ${window}, shorter than the context of ${context}`);
  if (refused.length > 0)
    throw new TsumikiError("CONFIG", `llama.cpp has no place for ${refused.join(" and ")} in such a model.`);
}

function tokenizerEntries(tokenizer: Tokenizer, vocabSize: number): (readonly [string, MetadataEntry])[] {
  const gguf = ggufTokenizer(tokenizer, vocabSize);
  const { model, pre, tokens, types, merges, scores, spacePrefix, mergesSpaces, charsmap, addBos, addEos, chatTemplate } = gguf;
  const ids = { bos: gguf.bosId, eos: gguf.eosId, padding: gguf.padId, unknown: gguf.unknownId };
  const optional: readonly (readonly [string, MetadataEntry | undefined])[] = [
    ...Object.entries(ids).map(([name, id]) => [`ggml.${name}_token_id`, id === undefined ? undefined : uint32(id)] as const),
    ["ggml.merges", model === "gpt2" ? texts(merges) : undefined],
    ["ggml.scores", scores && float32s(scores)],
    ["ggml.add_space_prefix", spacePrefix === undefined ? undefined : bool(spacePrefix)],
    ["ggml.remove_extra_whitespaces", mergesSpaces === undefined ? undefined : bool(mergesSpaces)],
    ["ggml.precompiled_charsmap", charsmap && signedBytes(charsmap)],
    ["chat_template", chatTemplate === undefined ? undefined : text(chatTemplate)],
  ];
  const entries: readonly (readonly [string, MetadataEntry])[] = [
    ["ggml.model", text(model)],
    ["ggml.pre", text(pre)],
    ["ggml.tokens", texts(tokens)],
    ["ggml.token_type", int32s(types)],
    ["ggml.add_bos_token", bool(addBos)],
    ["ggml.add_eos_token", bool(addEos)],
    ...optional.flatMap(([key, entry]) => (entry ? [[key, entry] as const] : [])),
  ];
  return entries.map(([key, entry]) => [`tokenizer.${key}`, entry] as const);
}

function planTensors(
  model: CausalLM,
  config: HuggingFaceConfig,
  architecture: GgufArchitecture,
  matrixType: WritableType,
): TensorPlan[] {
  const variables = checkpointVariables(model);
  const homeless = [...variables.keys()].filter((name) => ggufName(name) === undefined);
  if (homeless.length > 0) throw new TsumikiError("CONFIG", `llama.cpp has no place for ${homeless.join(", ")}.`);
  return [...variables].map(([name, variable]): TensorPlan => {
    const type: WritableType = variable.shape.length > 1 ? matrixType : writableTypes.float32;
    checkRows(type, name, variable.shape.at(-1) as number);
    return {
      name: ggufName(name) as string,
      shape: variable.shape,
      type,
      values: () => valuesOf(name, variable, config, architecture),
    };
  });
}

const planTables = ({ tables }: GgufRope): TensorPlan[] =>
  Object.entries(tables).map(([name, table]) => ({
    ...{ name, shape: [table.length], type: writableTypes.float32 },
    values: async () => table,
  }));

async function valuesOf(
  name: string,
  variable: Variable,
  config: HuggingFaceConfig,
  { interleaved }: GgufArchitecture,
): Promise<Float32Array> {
  const values = (await variable.read()).data as Float32Array;
  const rotated = interleaved ? rotatedHeads(name) : undefined;
  if (!rotated) return values;
  const heads = config[rotated === "query" ? "num_attention_heads" : "num_key_value_heads"] as number;
  return reorderRows(values, heads, variable.shape[0] as number, "neighbours");
}

/** Metadata, the places of the tensors, and zeros up to the first of them. */
function headerBytes(entries: ReadonlyMap<string, MetadataEntry>, tensors: readonly TensorPlan[]): Uint8Array {
  const metadata = {
    version: { value: 3, type: GGUFValueType.UINT32 },
    tensor_count: { value: BigInt(tensors.length), type: GGUFValueType.UINT64 },
    kv_count: { value: BigInt(entries.size), type: GGUFValueType.UINT64 },
    ...Object.fromEntries(entries),
  };
  // Padding belongs behind the places of the tensors.
  const start = serializeGgufMetadata(metadata as unknown as Parameters<typeof serializeGgufMetadata>[0], { alignment: 1 });
  const parts: Uint8Array[] = [start];
  let offset = 0;
  for (const { name, shape, type } of tensors) {
    parts.push(tensorInfo(name, shape, type, offset));
    const bytes = bytesOf(type, elementCount(shape));
    offset += bytes + padding(bytes);
  }
  const length = parts.reduce((total, part) => total + part.length, 0);
  return Buffer.concat([...parts, new Uint8Array(padding(length))]);
}

/** Sizes stand in the file from the innermost outwards. */
function tensorInfo(name: string, shape: readonly number[], { code }: WritableType, offset: number): Uint8Array {
  const encoded = new TextEncoder().encode(name);
  const bytes = new Uint8Array(8 + encoded.length + 4 + 8 * shape.length + 4 + 8);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(encoded.length), true);
  bytes.set(encoded, 8);
  let at = 8 + encoded.length;
  view.setUint32(at, shape.length, true);
  at += 4;
  for (const size of shape.toReversed()) {
    view.setBigUint64(at, BigInt(size), true);
    at += 8;
  }
  view.setUint32(at, code, true);
  view.setBigUint64(at + 4, BigInt(offset), true);
  return bytes;
}
