/** Models out of GGUF files. */

import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import { GGMLQuantizationType, gguf } from "@huggingface/gguf";
import { matchTensors } from "../checkpoint/variable-match.js";
import { TsumikiError } from "../errors.js";
import { fileIdentity } from "../files/identity.node.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import type { VariableHome } from "../graph/variable.js";
import { checkpointVariables, type HuggingFaceConfig, modelFromConfig } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { bytesOf, type ElementType, elementType, readableTypeNames } from "./element-types.js";
import { tokenTypes } from "./gguf-tokenizer.js";
import { architectureOfFile, type GgufArchitecture, ggufName, reorderRows, rotatedHeads, settingNames } from "./layout.js";
import { factorsName, scalingOfFactors } from "./rope.js";
import { tokenizerFromGguf } from "./tokenizer.js";

export interface ImportedGguf {
  readonly model: CausalLM;
  /** Undefined where the file has none, or one of another kind than byte-level BPE and SentencePiece's. */
  readonly tokenizer: Tokenizer | undefined;
}

interface PlacedTensor {
  readonly shape: readonly number[];
  readonly type: ElementType;
  readonly byteOffset: number;
  readonly byteLength: number;
}

type Metadata = Readonly<Record<string, unknown>>;

/**
 * Opens a GGUF file. Its values stay there until they are needed, so it must remain as it is; blocks of 8 and 4 bits are read as
 * float32.
 *
 * @throws TsumikiError CHECKPOINT for a file that is missing, truncated, foreign, of element types that are not known, or whose
 * tensors do not fit, naming every one; CONFIG for an architecture or settings that are not known
 */
export async function importGguf(path: string): Promise<ImportedGguf> {
  const { metadata, tensors } = await readLayout(path);
  const architecture = architectureOfFile(metadata["general.architecture"], path);
  const config = await withFactors(configFrom(metadata, architecture, tensors, path), tensors, path);
  const model = modelFromConfig(config, path);
  const variables = new Map([...checkpointVariables(model)].map(([name, variable]) => [ggufName(name) ?? name, variable]));
  const checkpointNames = new Map([...checkpointVariables(model)].map(([name, variable]) => [variable, name]));
  const described = new Map([...tensors].map(([name, { shape }]) => [name, { dtype: "float32" as const, shape }]));
  for (const [variable, name] of matchTensors(path, described, variables, {})) {
    const rotated = architecture.interleaved ? rotatedHeads(checkpointNames.get(variable) as string) : undefined;
    const heads = rotated && (config[rotated === "query" ? "num_attention_heads" : "num_key_value_heads"] as number);
    variable.moveTo(homeInFile(path, tensors.get(name) as PlacedTensor, heads));
  }
  return { model, tokenizer: readTokenizer(metadata, path) };
}

async function readLayout(path: string): Promise<{ metadata: Metadata; tensors: Map<string, PlacedTensor> }> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (cause) {
    throw new TsumikiError("CHECKPOINT", `The GGUF file ${path} cannot be opened: ${(cause as Error).message}.`, { cause });
  }
  const { size } = await file.stat().finally(() => file.close());
  let parsed: Awaited<ReturnType<typeof gguf>>;
  try {
    parsed = await gguf(resolve(path), { allowLocalFile: true });
  } catch (cause) {
    throw new TsumikiError("CHECKPOINT", `${path} cannot be read as GGUF: ${(cause as Error).message}`, { cause });
  }
  if (!parsed.littleEndian) throw new TsumikiError("CHECKPOINT", `${path} is a big-endian GGUF file, which is not read here.`);
  return { metadata: parsed.metadata as unknown as Metadata, tensors: placeTensors(parsed, size, path) };
}

/** Where the tensors lie, after a check that each has a place of its own inside the file. */
function placeTensors(
  { tensorInfos, tensorDataOffset }: Awaited<ReturnType<typeof gguf>>,
  fileBytes: number,
  path: string,
): Map<string, PlacedTensor> {
  const problems: string[] = [];
  const tensors = new Map<string, PlacedTensor>();
  for (const { name, shape: reversed, dtype, offset } of tensorInfos) {
    const type = elementType(dtype);
    const shape = reversed.map(Number).toReversed();
    if (tensors.has(name)) problems.push(`${name} is given twice`);
    if (!type) problems.push(`${name} is of type ${GGMLQuantizationType[dtype] ?? dtype}; known are ${readableTypeNames}`);
    else if ((shape.at(-1) ?? 0) % type.blockElements !== 0)
      problems.push(`${name} [${shape.join(", ")}] does not divide into blocks of ${type.name}`);
    else {
      const byteLength = bytesOf(type, elementCount(shape));
      const byteOffset = Number(tensorDataOffset + offset);
      if (byteOffset + byteLength > fileBytes)
        problems.push(`${name} ends at byte ${byteOffset + byteLength} of ${fileBytes}; the file is truncated`);
      tensors.set(name, { shape, type, byteOffset, byteLength });
    }
  }
  const sorted = [...tensors].sort(([, a], [, b]) => a.byteOffset - b.byteOffset);
  for (const [i, [name, { byteOffset }]] of sorted.entries()) {
    const [previous, before] = sorted[i - 1] ?? [];
    if (before && byteOffset < before.byteOffset + before.byteLength)
      problems.push(`the data of ${previous} and ${name} overlap`);
  }
  if (problems.length === 0) return tensors;
  throw new TsumikiError("CHECKPOINT", `${path} cannot be read, and nothing of it was loaded.\n  ${problems.join("\n  ")}`);
}

function configFrom(
  metadata: Metadata,
  architecture: GgufArchitecture,
  tensors: ReadonlyMap<string, PlacedTensor>,
  path: string,
): HuggingFaceConfig {
  const number = (key: string): number | undefined => {
    const value = metadata[`${architecture.name}.${key}`];
    return typeof value === "number" || typeof value === "bigint" ? Number(value) : undefined;
  };
  const settings = Object.entries(settingNames).flatMap(([key, name]) => {
    const value = number(key);
    return value === undefined ? [] : [[name, value]];
  });
  const scaling = metadata[`${architecture.name}.rope.scaling.type`];
  if (scaling !== undefined && scaling !== "none" && scaling !== "linear")
    throw new TsumikiError(
      "CONFIG",
      `${path} scales its rotary positions as ${JSON.stringify(scaling)}; known are none and linear.`,
    );
  const embedding = tensors.get("token_embd.weight");
  return {
    model_type: architecture.modelTypes[0],
    ...Object.fromEntries(settings),
    vocab_size: embedding?.shape[0],
    rope_theta: number("rope.freq_base") ?? 10_000,
    ...(scaling === "linear" ? { rope_scaling: { rope_type: "linear", factor: number("rope.scaling.factor") } } : {}),
    tie_word_embeddings: !tensors.has("output.weight"),
    attention_bias: tensors.has("blk.0.attn_output.bias"),
    mlp_bias: tensors.has("blk.0.ffn_up.bias"),
    hidden_act: "silu",
  };
}

/** The configuration with what a table of rotary frequencies says, which is no parameter of the model. */
async function withFactors(
  config: HuggingFaceConfig,
  tensors: Map<string, PlacedTensor>,
  path: string,
): Promise<HuggingFaceConfig> {
  const factors = tensors.get(factorsName);
  if (!factors) return config;
  tensors.delete(factorsName);
  const { data } = await homeInFile(path, factors, undefined).read();
  return { ...config, rope_scaling: scalingOfFactors(data as Float32Array, config) };
}

function homeInFile(
  path: string,
  { shape, type, byteOffset, byteLength }: PlacedTensor,
  rotatedHeadCount: number | undefined,
): VariableHome {
  const identity = fileIdentity(path);
  return {
    async read(): Promise<HostArray> {
      if (fileIdentity(path) !== identity)
        throw new TsumikiError("CHECKPOINT", `${path} was replaced or removed after it was opened. Open it again.`);
      const bytes = await readPart(path, byteOffset, byteLength);
      const values = type.decode(bytes, elementCount(shape));
      const data = rotatedHeadCount ? reorderRows(values, rotatedHeadCount, shape[0] as number, "halves") : values;
      return { dtype: "float32", shape, data };
    },
  };
}

/** One system call moves at most 2 GiB. */
const bytesPerCall = 2 ** 30;

async function readPart(path: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  await using file = await open(path, "r");
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(length - done, bytesPerCall), offset + done);
    if (bytesRead === 0)
      throw new TsumikiError("CHECKPOINT", `${path} ended at byte ${offset + done}; it was cut after it was opened.`);
    done += bytesRead;
  }
  return bytes;
}

function readTokenizer(metadata: Metadata, path: string): Tokenizer | undefined {
  const model = metadata["tokenizer.ggml.model"];
  if (model !== "gpt2" && model !== "llama") return undefined;
  const key = (name: string) => metadata[`tokenizer.ggml.${name}`];
  const id = (name: string, as: string) => (key(name) === undefined ? {} : { [as]: Number(key(name)) });
  const flag = (name: string, otherwise: boolean) => (typeof key(name) === "boolean" ? (key(name) as boolean) : otherwise);
  const tokens = key("tokens") as string[];
  const pre = (key("pre") as string | undefined) ?? "default";
  const template = metadata["tokenizer.chat_template"];
  return tokenizerFromGguf(
    {
      ...{ model, pre, tokens },
      types: (key("token_type") as number[] | undefined) ?? tokens.map(() => tokenTypes.normal),
      merges: (key("merges") as string[] | undefined) ?? [],
      ...(model === "llama"
        ? { scores: (key("scores") as number[] | undefined) ?? [], spacePrefix: flag("add_space_prefix", true) }
        : {}),
      ...id("bos_token_id", "bosId"),
      ...id("eos_token_id", "eosId"),
      ...id("padding_token_id", "padId"),
      ...id("unknown_token_id", "unknownId"),
      // What llama.cpp does where the file does not say.
      addBos: flag("add_bos_token", model === "llama" || pre === "llama-bpe"),
      addEos: flag("add_eos_token", false),
      ...(typeof template === "string" ? { chatTemplate: template } : {}),
    },
    path,
  );
}
