/**
 * Side-by-side measurements: `npm run -s bench -- NAME [options]`, or `tsx bench/run.ts NAME [options]`. See bench/README.md.
 * Progress goes to standard error, the result to standard output; with --json the last line there is the result as JSON.
 */

import { mkdtemp, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { corpus } from "../src/data/index.js";
import { attentionTable, chosenWorkloads, measureAttention } from "./attention.js";
import { drive, type Outcome, type Skipped } from "./driver.js";
import { measureMemory, memoryTable } from "./memory.js";
import { type Bench, benches, plan } from "./plan.js";
import { comparePrecisions, precisionTable } from "./precision.js";
import { profileSteps, profileTable } from "./profile.js";
import type { Precision } from "./protocol.js";
import { disagreements, expertsTable, type Row, rowsOf, shapeTable, skippedList, table } from "./report.js";
import { measureStart, startTable } from "./start.js";
import { compareTokenizers, tokenizerTables } from "./tokenizer.js";

const usage = `bench NAME [--json] [--threads 2] [--rounds 7] [--warmups 1] [--precision fp32,bf16] [--only by,by] [--cells name,name] [--text FILE]

  NAME         ${benches.join(" | ")} | attention | memory | profile | precision | start | tokenizer
  --precision  bf16 adds rows of those that can (default fp32)
  --only       only these competitors, named as in the rows
  --cells      of attention only these, named as in the rows, and full-512, from which the others are predicted
  --text       UTF-8 text for nanogpt (default: Moby-Dick, fetched through npm)`;

/** Those that are not one table of training steps. */
const ownBenches = ["attention", "memory", "profile", "precision", "start", "tokenizer"] as const;

interface Options {
  readonly bench: Bench | (typeof ownBenches)[number];
  readonly json: boolean;
  readonly threads: number;
  readonly rounds: number;
  readonly warmups: number;
  readonly precisions: readonly Precision[];
  readonly only: readonly string[] | undefined;
  readonly cells: readonly string[] | undefined;
  readonly textFile: string | undefined;
}

function readOptions(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      threads: { type: "string", default: "2" },
      rounds: { type: "string", default: "7" },
      warmups: { type: "string", default: "1" },
      precision: { type: "string", default: "fp32" },
      only: { type: "string" },
      cells: { type: "string" },
      text: { type: "string" },
    },
  });
  const [name, ...rest] = positionals;
  const bench = [...benches, ...ownBenches].find((each) => each === name);
  if (!bench || rest.length > 0) throw new Error(`which bench? One of ${[...benches, ...ownBenches].join(", ")}.`);
  const count = (option: "threads" | "rounds" | "warmups", least: number) => {
    const value = Number(values[option]);
    if (!Number.isInteger(value) || value < least)
      throw new Error(`--${option} is ${values[option]}, expected a whole number from ${least}.`);
    return value;
  };
  const precisions = values.precision.split(",").map((precision) => {
    if (precision !== "fp32" && precision !== "bf16")
      throw new Error(`--precision is ${precision}, expected fp32 or bf16 (or both, with a comma).`);
    return precision;
  });
  const cells = values.cells?.split(",");
  if (cells && bench !== "attention") throw new Error(`--cells is for attention; ${bench} has none.`);
  chosenWorkloads(cells);
  return {
    bench,
    json: values.json,
    threads: count("threads", 1),
    rounds: count("rounds", 1),
    warmups: count("warmups", 0),
    precisions,
    only: values.only?.split(","),
    cells,
    textFile: values.text === undefined ? undefined : resolve(values.text),
  };
}

const progress = (line: string) => process.stderr.write(`${new Date().toLocaleTimeString("en-GB")} ${line}\n`);

/** The text of `nanogpt` as a file that every peer can read. */
async function defaultText(): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "tsumiki-bench-")), "moby-dick.txt");
  await writeFile(file, await corpus("moby-dick"));
  return file;
}

async function main({ bench, json, threads, rounds, warmups, precisions, only, cells, textFile: given }: Options): Promise<void> {
  console.log(`# bench ${bench}\n`);
  console.log(
    `${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${(totalmem() / 1e9).toFixed(0)} GB; ${threads} threads each; ${process.platform}\n`,
  );
  if (bench === "profile") {
    const rows = await profileSteps({ threads, runs: rounds, precisions, only });
    console.log(profileTable(rows));
    if (json) console.log(JSON.stringify({ bench, rows }));
    return;
  }
  if (bench === "attention") {
    const result = await measureAttention({ threads, rounds, precisions, only, cells, onProgress: progress });
    console.log(attentionTable(result));
    if (json) console.log(JSON.stringify({ bench, rows: result.rows }));
    if (result.skipped.some(({ failed }) => failed)) process.exitCode = 1;
    return;
  }
  if (bench === "memory") {
    const rows = await measureMemory({ threads, only, onProgress: progress });
    console.log(memoryTable(rows));
    if (json) console.log(JSON.stringify({ bench, rows }));
    return;
  }
  if (bench === "start") {
    const rows = await measureStart({ threads, seeds: Math.min(rounds, 3), only, onProgress: progress });
    console.log(startTable(rows));
    if (json) console.log(JSON.stringify({ bench, rows }));
    return;
  }
  if (bench === "precision") {
    const rows = await comparePrecisions({ threads, onProgress: progress });
    console.log(precisionTable(rows));
    if (json) console.log(JSON.stringify({ bench, rows }));
    return;
  }
  if (bench === "tokenizer") {
    // Training Rust's Unigram takes half a minute: three rounds tell as much as seven.
    const result = await compareTokenizers({ threads, rounds: Math.min(rounds, 3), only, onProgress: progress });
    console.log(tokenizerTables(result));
    if (json) console.log(JSON.stringify({ bench, rows: result.rows }));
    if (result.warnings.length > 0) process.exitCode = 1;
    return;
  }
  const textFile = bench === "nanogpt" ? (given ?? (await defaultText())) : undefined;
  const groups = plan(bench, { threads, precisions, ...(textFile !== undefined && { textFile }) })
    .map((group) => group.filter(({ by }) => !only || only.includes(by)))
    .filter((group) => group.length > 0);

  const rows: Row[] = [];
  const skipped: Skipped[] = [];
  const warnings: string[] = [];
  const outcomes: Outcome[] = [];
  for (const group of groups) {
    const result = await drive(group, { rounds, warmups, onProgress: progress });
    outcomes.push(...result.outcomes);
    skipped.push(...result.skipped);
    rows.push(...rowsOf(result.outcomes, bench === "matmul" ? "products" : "training"));
    for (const name of new Set(group.map(({ config }) => config.workload.name)))
      warnings.push(...disagreements(result.outcomes.filter(({ competitor }) => competitor.config.workload.name === name)));
    if (result.outcomes.some(({ competitor }) => competitor.config.task === "matmul"))
      console.log(`${shapeTable(result.outcomes)}\n`);
  }

  console.log(`${table(rows)}\n`);
  if (bench === "moe") console.log(`${expertsTable(outcomes)}\n`);
  const versions = Object.assign({}, ...outcomes.map(({ ready }) => ready.versions)) as Record<string, string>;
  console.log(
    `Versions: ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}. Repetitions: ${outcomes.length > 0 ? Math.min(...outcomes.map(({ runs }) => runs.length)) : 0}.`,
  );
  if (skipped.length > 0) console.log(`\nNot measured:\n${skippedList(skipped)}`);
  for (const warning of warnings) console.log(`\nWARNING: ${warning}`);
  if (json) console.log(JSON.stringify({ bench, rows }));
  if (skipped.some(({ failed }) => failed) || warnings.length > 0) process.exitCode = 1;
}

let options: Options;
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\n\n${usage}`);
  process.exit(2);
}
await main(options);
