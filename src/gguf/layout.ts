/**
 * How llama.cpp names and arranges what a Llama-like model consists of
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 */

import { TsumikiError } from "../errors.js";

/** An architecture of llama.cpp, and the `model_type` that it is here. */
export interface GgufArchitecture {
  readonly name: string;
  /** The first is what an imported file becomes. */
  readonly modelTypes: readonly string[];
  /** Queries and keys are rotated in pairs of neighbours, so the rows of their weights stand in another order than here. */
  readonly interleaved: boolean;
}

export const architectures: readonly GgufArchitecture[] = [
  { name: "llama", modelTypes: ["llama", "mistral"], interleaved: true },
  { name: "qwen2", modelTypes: ["qwen2"], interleaved: false },
  { name: "qwen3", modelTypes: ["qwen3"], interleaved: false },
  { name: "phi3", modelTypes: ["phi3"], interleaved: false },
];

export function architectureOfModel(modelType: string): GgufArchitecture {
  const found = architectures.find(({ modelTypes }) => modelTypes.includes(modelType));
  if (found) return found;
  const known = architectures.flatMap(({ modelTypes }) => modelTypes).join(", ");
  throw new TsumikiError("CONFIG", `Models of type ${modelType} cannot be written as GGUF here; those of type ${known} can.`);
}

export function architectureOfFile(name: unknown, source: string): GgufArchitecture {
  const found = architectures.find((architecture) => architecture.name === name);
  if (found) return found;
  throw new TsumikiError(
    "CONFIG",
    `${source} holds a model of architecture ${JSON.stringify(name)}; known are ${architectures.map((known) => known.name).join(", ")}.`,
  );
}

const tensorNames: readonly (readonly [checkpoint: RegExp, gguf: string])[] = [
  [/^model\.embed_tokens\.weight$/, "token_embd.weight"],
  [/^model\.norm\.weight$/, "output_norm.weight"],
  [/^lm_head\.weight$/, "output.weight"],
  [/^model\.layers\.(\d+)\.input_layernorm\.weight$/, "blk.N.attn_norm.weight"],
  [/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)$/, "blk.N.attn_X.Y"],
  [/^model\.layers\.(\d+)\.self_attn\.qkv_proj\.weight$/, "blk.N.attn_qkv.weight"],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj\.(weight|bias)$/, "blk.N.attn_output.X"],
  [/^model\.layers\.(\d+)\.self_attn\.([qk])_norm\.weight$/, "blk.N.attn_X_norm.weight"],
  [/^model\.layers\.(\d+)\.post_attention_layernorm\.weight$/, "blk.N.ffn_norm.weight"],
  [/^model\.layers\.(\d+)\.mlp\.gate_up_proj\.weight$/, "blk.N.ffn_up.weight"],
  [/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\.(weight|bias)$/, "blk.N.ffn_X.Y"],
];

/** The name in a GGUF file of a tensor with this name in a checkpoint; undefined for one that llama.cpp has no place for. */
export function ggufName(checkpointName: string): string | undefined {
  for (const [pattern, name] of tensorNames) {
    const [, layer = "", x = "", y = ""] = pattern.exec(checkpointName) ?? [];
    if (pattern.test(checkpointName)) return name.replace("N", layer).replace("X", x).replace("Y", y);
  }
  return undefined;
}

/** Which heads the rows of a tensor belong to, where their order differs: those of queries or of keys. */
export const rotatedHeads = (checkpointName: string): "query" | "key" | undefined =>
  /\.q_proj\./.test(checkpointName) ? "query" : /\.k_proj\./.test(checkpointName) ? "key" : undefined;

/**
 * Reorders the rows of each head between halves (i, i + headDim/2), as here, and neighbours (2i, 2i + 1).
 *
 * @param values [heads · headDim, columns]
 */
export function reorderRows(values: Float32Array, heads: number, rows: number, to: "neighbours" | "halves"): Float32Array {
  const headDim = rows / heads;
  const columns = values.length / rows;
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const within = row % headDim;
    const first = row - within;
    const halves = first + (within % 2) * (headDim / 2) + Math.floor(within / 2);
    const [source, target] = to === "neighbours" ? [halves, row] : [row, halves];
    result.set(values.subarray(source * columns, (source + 1) * columns), target * columns);
  }
  return result;
}

/** The numbers of a configuration that a file needs, by their keys without the architecture before them. */
export const settingNames = {
  context_length: "max_position_embeddings",
  embedding_length: "hidden_size",
  block_count: "num_hidden_layers",
  feed_forward_length: "intermediate_size",
  "attention.head_count": "num_attention_heads",
  "attention.head_count_kv": "num_key_value_heads",
  "attention.key_length": "head_dim",
  "attention.layer_norm_rms_epsilon": "rms_norm_eps",
} as const satisfies Record<string, string>;
