/** Models out of GGUF files. */

import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import { GGMLQuantizationType, gguf } from "@huggingface/gguf";
import { matchTensors } from "../checkpoint/variable-match.js";
import { TsumikiError } from "../errors.js";
import { readFully } from "../files/bytes.node.js";
import { fileIdentity } from "../files/identity.node.js";
import { elementCount, type HostArray } from "../graph/host-array.js";
import type { VariableHome } from "../graph/variable.js";
import { checkpointVariables, type HuggingFaceConfig, modelFromConfig } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { splitCalled } from "./byte-level.js";
import { bytesOf, type ElementType, elementType, readableTypeNames } from "./element-types.js";
import { tokenTypes } from "./gguf-tokenizer.js";
import { architectureOfFile, type GgufArchitecture, ggufName, reorderRows, rotatedHeads, settingNames } from "./layout.js";
import { type MetadataReader, metadataReader } from "./metadata.js";
import { headDimOf, ropeScalingOf, ropeTables } from "./rope.js";
import { tokenizerFromGguf } from "./tokenizer.js";

export interface ImportedGguf {
  readonly model: CausalLM;
  /** Undefined where the file has none, or one of another kind than byte-level BPE, SentencePiece's BPE and its Unigram. */
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
 * Opens a GGUF file. Its values stay there until they are needed, so it must remain as it is; they are read as float32.
 *
 * @throws TsumikiError CHECKPOINT for a file that is missing, truncated, foreign, of element types that are not known, or whose
 * tensors do not fit, naming every one; CONFIG for an architecture or settings that are not known
 */
export async function importGguf(path: string): Promise<ImportedGguf> {
  const { metadata, tensors } = await readLayout(path);
  const parts = metadataReader(metadata, "split.", path).number("count") ?? 1;
  if (parts > 1)
    throw new TsumikiError(
      "CHECKPOINT",
      `${path} is one of ${parts} parts of a model. Join them with llama.cpp's llama-gguf-split --merge FIRST-PART OUT.`,
    );
  const architecture = architectureOfFile(metadata["general.architecture"], path);
  const settings = metadataReader(metadata, `${architecture.name}.`, path);
  const tables = await takeTables(tensors, path);
  const plain = configFrom(settings, architecture, tensors, path);
  const config: HuggingFaceConfig = { ...plain, rope_scaling: ropeScalingOf(settings, tables, plain, path) ?? null };
  const model = modelFromConfig(config, path, "causal-lm");
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
  const unknownTypes = new Set<string>();
  const tensors = new Map<string, PlacedTensor>();
  for (const { name, shape: reversed, dtype, offset } of tensorInfos) {
    const type = elementType(dtype);
    const shape = reversed.map(Number).toReversed();
    if (tensors.has(name)) problems.push(`${name} is given twice`);
    if (!type) {
      const typeName = GGMLQuantizationType[dtype] ?? String(dtype);
      problems.push(`${name} is of type ${typeName}`);
      unknownTypes.add(typeName);
    } else if ((shape.at(-1) ?? 0) % type.blockElements !== 0)
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
  if (unknownTypes.size > 0)
    problems.push(
      `${[...unknownTypes].join(", ")} cannot be read here, only ${readableTypeNames}: write the file anew with llama.cpp's ` +
        "llama-quantize --allow-requantize OLD NEW Q8_0, or take one in another quantization",
    );
  if (problems.length === 0) return tensors;
  throw new TsumikiError("CHECKPOINT", `${path} cannot be read, and nothing of it was loaded.\n  ${problems.join("\n  ")}`);
}

/** The configuration, but for the scaling of rotary positions. */
function configFrom(
  metadata: MetadataReader,
  architecture: GgufArchitecture,
  tensors: ReadonlyMap<string, PlacedTensor>,
  path: string,
): HuggingFaceConfig {
  const settings = Object.entries(settingNames).flatMap(([key, name]) => {
    const value = metadata.number(key);
    return value === undefined ? [] : [[name, value]];
  });
  const config: HuggingFaceConfig = {
    model_type: architecture.modelTypes[0],
    ...Object.fromEntries(settings),
    vocab_size: tensors.get("token_embd.weight")?.shape[0],
    rope_theta: metadata.number("rope.freq_base") ?? 10_000,
    tie_word_embeddings: !tensors.has("output.weight"),
    attention_bias: tensors.has("blk.0.attn_output.bias"),
    mlp_bias: tensors.has("blk.0.ffn_up.bias"),
    hidden_act: "silu",
  };
  const experts = metadata.number("expert_count") ?? 0;
  if (experts > 0)
    throw new TsumikiError("CONFIG", `${path} holds a mixture of ${experts} experts, which cannot be read from GGUF here.`);
  const rotated = metadata.number("rope.dimension_count") ?? headDimOf(config);
  if (architecture.name === "phi3")
    return {
      ...{ ...config, partial_rotary_factor: rotated / headDimOf(config) },
      sliding_window: metadata.number("attention.sliding_window") || null, // llama.cpp itself has none
    };
  if (rotated === headDimOf(config)) return config;
  throw new TsumikiError(
    "CONFIG",
    `${path} rotates ${rotated} of ${headDimOf(config)} features of a head, which a model of type ${architecture.name} here does not.`,
  );
}

/** The tables of rotary frequencies, which are no parameters of the model, out of its tensors. */
async function takeTables(tensors: Map<string, PlacedTensor>, path: string): Promise<Map<string, Float32Array>> {
  const tables = new Map<string, Float32Array>();
  for (const name of ropeTables) {
    const table = tensors.get(name);
    if (!table) continue;
    tensors.delete(name);
    tables.set(name, (await homeInFile(path, table, undefined).read()).data as Float32Array);
  }
  return tables;
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

async function readPart(path: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  await using file = await open(path, "r");
  const done = await readFully(file, bytes, offset);
  if (done === length) return bytes;
  throw new TsumikiError("CHECKPOINT", `${path} ended at byte ${offset + done}; it was cut after it was opened.`);
}

function readTokenizer(metadata: Metadata, path: string): Tokenizer | undefined {
  const read = metadataReader(metadata, "tokenizer.", path);
  const model = read.text("ggml.model");
  if (model !== "gpt2" && model !== "llama" && model !== "t5") return undefined;
  const tokens = read.texts("ggml.tokens");
  if (!tokens) throw new TsumikiError("CHECKPOINT", `${path} has a tokenizer without tokens: tokenizer.ggml.tokens is missing.`);
  const pre = splitCalled(read.text("ggml.pre"));
  const ids = { bosId: "bos", eosId: "eos", padId: "padding", unknownId: "unknown" };
  const special = Object.entries(ids).flatMap(([name, key]) => {
    const id = read.number(`ggml.${key}_token_id`) ?? defaultIds[model]?.[key];
    // Files say −1 or 2³² − 1 where there is none.
    return id === undefined || tokens[id] === undefined ? [] : [[name, id]];
  });
  if (model === "t5" && read.flag("ggml.treat_whitespace_as_suffix"))
    throw new TsumikiError("TOKENIZER", `${path} puts spaces behind words instead of before them, which is not known here.`);
  const charsmap = read.numbers("ggml.precompiled_charsmap");
  const chatTemplate = read.text("chat_template");
  return tokenizerFromGguf(
    {
      ...{ model, pre, tokens },
      types: read.numbers("ggml.token_type") ?? tokens.map(() => tokenTypes.normal),
      merges: read.texts("ggml.merges") ?? [],
      ...(model === "gpt2" ? {} : { scores: read.numbers("ggml.scores") ?? [] }),
      // From here on, what llama.cpp does where the file does not say.
      ...(model === "gpt2" ? {} : { spacePrefix: read.flag("ggml.add_space_prefix") ?? model === "llama" }),
      ...(model === "t5" ? { mergesSpaces: read.flag("ggml.remove_extra_whitespaces") ?? false } : {}),
      ...(charsmap ? { charsmap: Uint8Array.from(charsmap) } : {}),
      ...Object.fromEntries(special),
      addBos: read.flag("ggml.add_bos_token") ?? (model === "llama" || (model === "gpt2" && pre === "llama-bpe")),
      addEos: read.flag("ggml.add_eos_token") ?? model === "t5",
      ...(chatTemplate === undefined ? {} : { chatTemplate }),
    },
    path,
  );
}

/** Where a file names no special tokens. */
const defaultIds: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  llama: { bos: 1, eos: 2, unknown: 0 },
  t5: { eos: 1, unknown: 2, padding: 0 },
};
