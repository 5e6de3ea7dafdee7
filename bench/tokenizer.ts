/** Bench `tokenizer`: training and encoding, beside Hugging Face's Rust library called from Python. */

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { corpora, corpus } from "../src/data/index.js";
import { npmPackageFiles } from "../src/data/npm-package.js";
import { type ParityCorpora, parityCorpora } from "../src/tokenizer/testing/parity-corpora.js";
import { parityTokenizers } from "../src/tokenizer/testing/parity-tokenizers.js";
import { rotated } from "./driver.js";
import { median } from "./report.js";

/** What a process is asked to do: to train and then encode the documents, or to encode them with the tokenizer that is given. */
export interface TokenizerTask {
  /** A file with the documents as a JSON array. */
  readonly documents: string;
  readonly threads: number;
  readonly model: "bpe" | "wordpiece" | "unigram";
  readonly vocabSize: number;
  /** Where the trained tokenizer.json goes. */
  readonly save: string;
  readonly tokenizer?: string;
}

export interface TokenizerReply {
  readonly trainSeconds: number;
  readonly encodeMegabytesPerSecond: number;
  readonly tokens: number;
  readonly peakMemoryBytes: number;
  readonly version: string;
}

export interface TokenizerRow {
  readonly by: "tsumiki" | "rust";
  readonly model: TokenizerTask["model"];
  readonly vocabSize: number;
  readonly trainSeconds: number;
  readonly encodeMegabytesPerSecond: number;
  readonly peakMemoryBytes: number;
}

interface EncodingRow {
  readonly tokenizer: string;
  readonly corpus: string;
  /** [MB/s] */
  readonly tsumiki: number;
  readonly rust: number | undefined;
}

export interface TokenizerResult {
  readonly rows: readonly TokenizerRow[];
  readonly encoding: readonly EncodingRow[];
  readonly versions: readonly string[];
  readonly skipped: string | undefined;
  readonly warnings: readonly string[];
}

const jobs: readonly Pick<TokenizerTask, "model" | "vocabSize">[] = [
  { model: "bpe", vocabSize: 6400 },
  { model: "bpe", vocabSize: 32_000 },
  { model: "wordpiece", vocabSize: 6400 },
  { model: "unigram", vocabSize: 6400 },
];
const peers = ["tsumiki", "rust"] as const;
type By = (typeof peers)[number];

interface Options {
  readonly threads: number;
  readonly rounds: number;
  readonly only?: readonly string[] | undefined;
  readonly onProgress: (line: string) => void;
}

export async function compareTokenizers({ threads, rounds, only, onProgress }: Options): Promise<TokenizerResult> {
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-bench-"));
  try {
    const python = process.env.TSUMIKI_PYTHON;
    let skipped = python ? undefined : "rust: TSUMIKI_PYTHON is not set; it names a Python that has tokenizers installed";
    let present = peers.filter((by) => (by === "tsumiki" || python) && (!only || only.includes(by)));
    const warnings: string[] = [];
    const versions = new Set<string>();
    /** Every round everyone does the task once, in processes of their own. */
    const inRounds = async (name: string, task: Omit<TokenizerTask, "save">): Promise<Map<By, TokenizerReply[]>> => {
      const replies = new Map<By, TokenizerReply[]>();
      for (let round = 0; round < rounds; round++) {
        for (const by of rotated(present, round)) {
          onProgress(`${name}, round ${round + 1} of ${rounds}: ${by}`);
          const reply = await ask(by, { ...task, save: join(folder, `${by}-${task.model}-${task.vocabSize}.json`) });
          if ("absent" in reply) {
            skipped = `rust: ${reply.absent}`;
            present = present.filter((one) => one !== by);
            continue;
          }
          versions.add(reply.version);
          replies.set(by, [...(replies.get(by) ?? []), reply]);
        }
      }
      return replies;
    };

    const documents = join(folder, "documents.json");
    await writeFile(documents, JSON.stringify(await stateOfTheUnion(folder)));
    const rows: TokenizerRow[] = [];
    for (const job of jobs) {
      const replies = await inRounds(`${job.model} ${job.vocabSize}`, { ...job, documents, threads });
      for (const [by, all] of replies)
        rows.push({
          by,
          ...job,
          trainSeconds: median(all.map(({ trainSeconds }) => trainSeconds)),
          encodeMegabytesPerSecond: median(all.map(({ encodeMegabytesPerSecond }) => encodeMegabytesPerSecond)),
          peakMemoryBytes: Math.max(...all.map(({ peakMemoryBytes }) => peakMemoryBytes)),
        });
      warnings.push(...(await differences(folder, job, replies)));
    }

    const encoding: EncodingRow[] = [];
    const texts = await parityCorpora();
    const files = await documentFiles(folder, texts);
    for (const [name, json] of Object.entries(await parityTokenizers(texts))) {
      if (!["gpt2", "qwen", "bert", "t5"].includes(name)) continue;
      const tokenizer = join(folder, `${name}.json`);
      await writeFile(tokenizer, JSON.stringify(json));
      for (const [corpusName, file] of Object.entries(files)) {
        const task = { documents: file, threads, model: "bpe" as const, vocabSize: 0, tokenizer };
        const replies = await inRounds(`encoding ${corpusName} with ${name}`, task);
        const rate = (by: By) => median((replies.get(by) ?? []).map((reply) => reply.encodeMegabytesPerSecond));
        if (!replies.has("tsumiki")) continue;
        encoding.push({
          tokenizer: name,
          corpus: corpusName,
          tsumiki: rate("tsumiki"),
          rust: replies.has("rust") ? rate("rust") : undefined,
        });
        const counts = new Set([...replies.values()].flatMap((all) => all.map(({ tokens }) => tokens)));
        if (counts.size > 1) warnings.push(`${name} makes ${[...counts].join(" and ")} tokens of the ${corpusName} text`);
      }
    }
    return { rows, encoding, versions: [...versions], skipped, warnings };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Equal merges for BPE; for the others, texts of nearly equal length. */
async function differences(
  folder: string,
  { model, vocabSize }: (typeof jobs)[number],
  replies: ReadonlyMap<By, readonly TokenizerReply[]>,
): Promise<string[]> {
  const [ours, theirs] = [replies.get("tsumiki")?.[0], replies.get("rust")?.[0]];
  if (!ours || !theirs) return [];
  if (model !== "bpe") {
    const difference = ours.tokens / theirs.tokens - 1;
    return Math.abs(difference) <= 0.005
      ? []
      : [`${model} ${vocabSize}: ${(difference * 100).toFixed(2)} % more tokens than Rust's`];
  }
  const merges = async (by: By) => {
    const { model: trained } = JSON.parse(await readFile(join(folder, `${by}-${model}-${vocabSize}.json`), "utf8"));
    return (trained.merges as (string | string[])[]).map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
  };
  const [own, rust] = [await merges("tsumiki"), await merges("rust")];
  return JSON.stringify(own) === JSON.stringify(rust) ? [] : [`bpe ${vocabSize}: the merges differ from Rust's`];
}

async function ask(by: By, task: TokenizerTask): Promise<TokenizerReply | { readonly absent: string }> {
  const script = fileURLToPath(new URL(by === "rust" ? "peers/tokenizer.py" : "peers/tokenizer.ts", import.meta.url));
  const [command, args] =
    by === "rust"
      ? [process.env.TSUMIKI_PYTHON as string, [script]]
      : [
          process.execPath,
          ["--import", new URL("../scripts/typescript-loader.mjs", import.meta.url).href, "-C", "tsumiki-source", script],
        ];
  const child = spawn(command, [...args, JSON.stringify(task)], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-2000);
  });
  const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`${by} failed:\n${errors}`);
  return JSON.parse(output.trim().split("\n").at(-1) ?? "") as TokenizerReply;
}

/** All files of the package: each address as text and as JSON, 21.5 MB. */
async function stateOfTheUnion(folder: string): Promise<string[]> {
  const files = await npmPackageFiles(corpora["state-of-the-union"], (path) => path.startsWith("data/"), { folder });
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, content]) => new TextDecoder().decode(content));
}

/** English, Chinese and code as documents of some 20,000 characters. */
async function documentFiles(folder: string, { code }: ParityCorpora): Promise<Record<string, string>> {
  const idioms = (await corpus("chinese-idioms")).map((row) => `${Object.values(row).join("，")}。`).join("\n");
  const texts = { english: await corpus("state-of-the-union"), chinese: idioms, code };
  const files: Record<string, string> = {};
  for (const [name, text] of Object.entries(texts)) {
    const documents: string[] = [];
    for (let start = 0; start < text.length; ) {
      const lineEnd = text.indexOf("\n", start + 20_000);
      const end = lineEnd < 0 ? text.length : lineEnd + 1;
      documents.push(text.slice(start, end));
      start = end;
    }
    files[name] = join(folder, `${name}.json`);
    await writeFile(files[name], JSON.stringify(documents));
  }
  return files;
}

export function tokenizerTables({ rows, encoding, versions, skipped, warnings }: TokenizerResult): string {
  const rust = (row: TokenizerRow) =>
    rows.find(({ by, model, vocabSize }) => by === "rust" && model === row.model && vocabSize === row.vocabSize);
  const ratio = (value: number | undefined) => (value === undefined ? "" : `${value.toFixed(2)} ×`);
  const training = rows.map((row) => {
    const peer = row.by === "tsumiki" ? rust(row) : undefined;
    return [
      row.by,
      row.model,
      row.vocabSize.toLocaleString("en"),
      `${row.trainSeconds.toFixed(2)} s`,
      ratio(peer && row.trainSeconds / peer.trainSeconds),
      `${row.encodeMegabytesPerSecond.toFixed(1)} MB/s`,
      ratio(peer && row.encodeMegabytesPerSecond / peer.encodeMegabytesPerSecond),
      `${(row.peakMemoryBytes / 1e9).toFixed(2)} GB`,
    ];
  });
  const rates = encoding.map(({ tokenizer, corpus: name, tsumiki, rust: theirs }) => [
    tokenizer,
    name,
    `${tsumiki.toFixed(1)} MB/s`,
    theirs === undefined ? "" : `${theirs.toFixed(1)} MB/s`,
    ratio(theirs && tsumiki / theirs),
  ]);
  const table = (header: readonly string[], lines: readonly (readonly string[])[]) =>
    [header, header.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  return [
    table(["by", "model", "vocabulary", "training", "of Rust's time", "encoding", "of Rust's rate", "peak memory"], training),
    table(["encoding with", "text", "tsumiki (1 thread)", "rust (all threads)", "ratio"], rates),
    `Versions: ${versions.join(", ")}.`,
    ...(skipped ? [`Not measured: ${skipped}`] : []),
    ...warnings.map((warning) => `WARNING: ${warning}`),
  ].join("\n\n");
}
