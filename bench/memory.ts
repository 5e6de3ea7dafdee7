/** Bench `memory`: what a training process holds, beside what `tsumiki/inspect` counts from the configuration. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type EngineName, engineNames, inspectModel } from "../src/inspect/index.js";
import type { HuggingFaceConfig } from "../src/models/architectures.js";

const llama = {
  model_type: "llama",
  ...{ vocab_size: 6400, hidden_size: 512, intermediate_size: 1408, num_hidden_layers: 4, num_attention_heads: 8 },
  ...{ max_position_embeddings: 8192, tie_word_embeddings: true },
};
const gpt2 = { model_type: "gpt2", vocab_size: 5000, n_embd: 384, n_layer: 6, n_head: 6, n_positions: 1024 };

/** The sizes of SmolLM2-135M. */
const smollm2 = {
  model_type: "llama",
  ...{ vocab_size: 49_152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, num_attention_heads: 9 },
  ...{ num_key_value_heads: 3, max_position_embeddings: 8192, tie_word_embeddings: true },
};

/** Small and large batches, short and long contexts, two architectures. */
export const memoryCells: readonly Omit<MemoryTask, "engine" | "threads">[] = [
  { model: "llama", config: llama, batch: 1, context: 64, recompute: false },
  { model: "llama", config: llama, batch: 4, context: 512, recompute: false },
  { model: "llama", config: llama, batch: 8, context: 512, recompute: false },
  { model: "llama", config: llama, batch: 8, context: 512, recompute: true },
  { model: "llama", config: llama, batch: 2, context: 2048, recompute: false },
  { model: "llama", config: { ...llama, num_key_value_heads: 2 }, batch: 2, context: 2048, recompute: true },
  { model: "gpt2", config: gpt2, batch: 8, context: 256, recompute: false },
  { model: "gpt2", config: gpt2, batch: 8, context: 256, recompute: true },
  // The step of `train`, and a full fine-tune of a 135 M model.
  { model: "llama-29m", config: { ...llama, num_hidden_layers: 8 }, batch: 8, context: 512, recompute: false },
  { model: "smollm2-135m", config: smollm2, batch: 2, context: 128, recompute: false },
];

/** What a process is asked to do: a few training steps with AdamW. */
export interface MemoryTask {
  readonly model: string;
  readonly config: HuggingFaceConfig;
  readonly batch: number;
  readonly context: number;
  /** Layers are computed again in the backward pass. */
  readonly recompute: boolean;
  readonly engine: EngineName;
  readonly threads: number;
}

export interface MemoryReply {
  /** The most that was resident from the third step on, after a garbage collection. */
  readonly peakMemoryBytes: number;
  /** The most in the first two steps, with the copies that making weights leaves to the garbage collector. */
  readonly startPeakMemoryBytes: number;
}

export interface MemoryRow extends MemoryReply {
  readonly by: string;
  readonly model: string;
  readonly parameters: number;
  readonly batch: number;
  readonly context: number;
  readonly recompute: boolean;
  readonly countedBytes: number;
}

interface Options {
  readonly threads: number;
  readonly only?: readonly string[] | undefined;
  readonly onProgress: (line: string) => void;
}

export async function measureMemory({ threads, only, onProgress }: Options): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const cell of memoryCells)
    for (const engine of engineNames) {
      const by = `tsumiki/${engine}`;
      if (only && !only.includes(by)) continue;
      const { model, config, batch, context, recompute } = cell;
      onProgress(`${by}: ${model}, ${batch} × ${context}${recompute ? ", recomputed" : ""}`);
      const reply = await measure({ ...cell, engine, threads });
      if ("absent" in reply) {
        onProgress(`${by} skipped: ${reply.absent}`);
        continue;
      }
      const { parameters, training } = inspectModel(config, { batch, context, engine });
      const countedBytes = (recompute ? training.processBytesRecomputed : training.processBytes) as number;
      onProgress(`${(countedBytes / 1e9).toFixed(3)} GB counted, ${(reply.peakMemoryBytes / 1e9).toFixed(3)} GB measured`);
      rows.push({ by, model, parameters, batch, context, recompute, countedBytes, ...reply });
    }
  return rows;
}

async function measure(task: MemoryTask): Promise<MemoryReply | { readonly absent: string }> {
  const loader = new URL("../scripts/typescript-loader.mjs", import.meta.url).href;
  const script = fileURLToPath(new URL("peers/memory.ts", import.meta.url));
  const args = ["--expose-gc", "--import", loader, "-C", "tsumiki-source", script, JSON.stringify(task)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`${task.engine} ended with status ${code}.`);
  return JSON.parse(output.trim().split("\n").at(-1) ?? "") as MemoryReply | { readonly absent: string };
}

export function memoryTable(rows: readonly MemoryRow[]): string {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  const header = ["by", "model", "batch × context", "layers", "counted", "measured", "counted / measured − 1", "while it starts"];
  const lines = rows.map((row) => {
    const off = row.countedBytes / row.peakMemoryBytes - 1;
    return [
      row.by,
      `${row.model}, ${(row.parameters / 1e6).toFixed(1)} M`,
      `${row.batch} × ${row.context}`,
      row.recompute ? "recomputed" : "kept",
      gigabytes(row.countedBytes),
      gigabytes(row.peakMemoryBytes),
      `${off < 0 ? "−" : "+"}${(Math.abs(off) * 100).toFixed(0)} %`,
      gigabytes(row.startPeakMemoryBytes),
    ];
  });
  return [header, header.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
