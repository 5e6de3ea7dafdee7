/**
 * The directory of one training run. Every number that a page or a terminal shows about a run comes from here:
 *
 * ```
 * runs/whale/
 *   run.json           says that this directory is a run, and of which version
 *   recipe.json        what was asked for
 *   config.json        the model's resolved configuration
 *   engines.json       on which engine and in which precision it was computed, from which step on
 *   tokenizer.json, tokenizer_config.json
 *   metrics.jsonl      one JSON object a line, appended as the run goes
 *   loss.svg
 *   latest             the name of the newest checkpoint, for people and other programs
 *   compiled/          programs as an engine has compiled them, while the run has not ended; nothing needs them
 *   checkpoints/step-000500/  model.safetensors, optimizer.safetensors, state.json
 *   samples/step-000500.txt
 *   adapter/           of a tuned model, at the end: what was trained beside it
 *   model.safetensors, generation_config.json   at the end: the run is then a Hugging Face directory as well
 * ```
 *
 * A save that is interrupted anywhere (an exception, a full disk, SIGKILL, a power cut) leaves the earlier checkpoints as they
 * were. One process at a time may write to a run; any number may read it meanwhile.
 */

import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import * as z from "zod";
import { ArgumentError, TsumikiError } from "../errors.js";
import { syncFolder, writeFileAtomically } from "../files/atomic.node.js";
import {
  bestOf,
  type Checkpoint,
  type CheckpointFiles,
  cleanCheckpoints,
  entriesOf,
  listCheckpoints,
  pruneCheckpoints,
  removeCheckpointsAfter,
  type SaveCheckpointOptions,
  saveCheckpoint,
  stepName,
  stepOfName,
} from "./checkpoints.node.js";
import { type RunEngine, recordEngine, runEnginesSchema } from "./engines.node.js";
import { readJsonFile, writeJsonFile } from "./json-file.node.js";
import { appendRow, cutMetricsAfter, type MetricsRow, readMetrics } from "./metrics.node.js";

export type { Checkpoint, CheckpointFiles, MetricsRow, RunEngine, SaveCheckpointOptions };

export interface CreateRunOptions {
  /** What was asked for: written as `recipe.json`. */
  readonly recipe: object;
  /** The model's resolved configuration: written as `config.json`. */
  readonly config: object;
  /** Removes the run that is there, checkpoints included; files that are not a run's stay. */
  readonly overwrite?: boolean;
}

/** In the order in which they are removed: as long as `run.json` is there, the directory is a run. `samples/` is emptied file by file. */
const runEntries = [
  "checkpoints",
  "compiled",
  "adapter",
  "metrics.jsonl",
  "loss.svg",
  "latest",
  "engines.json",
  "model.safetensors",
  "generation_config.json",
  "tokenizer_config.json",
  "tokenizer.json",
  "config.json",
  "recipe.json",
  "run.json",
];

/** What `run.json` says. Runs of before have none: they are known by their `engines.json`. */
const marker = { kind: "tsumiki-run", version: 1 } as const;
const markerSchema = z.object({ kind: z.literal(marker.kind), version: z.int() });

/** Where an engine may keep the compiled programs of the run at `path`. Nothing there is needed; it goes when the run has ended. */
export const compiledProgramsOf = (path: string): string => join(path, "compiled");

const anyObject = z.record(z.string(), z.unknown());

export class RunDirectory {
  /** Absolute. */
  readonly path: string;
  /** Absolute paths of the files that others read or name to people. */
  readonly files: Readonly<
    Record<"marker" | "recipe" | "config" | "engines" | "tokenizer" | "metrics" | "lossCurve" | "latest", string>
  >;
  readonly #checkpoints: string;
  readonly #samples: string;
  readonly #appendInTurn = inTurn();
  readonly #saveInTurn = inTurn();

  private constructor(path: string) {
    this.path = resolve(path);
    const inside = (name: string) => join(this.path, name);
    this.files = {
      marker: inside("run.json"),
      recipe: inside("recipe.json"),
      config: inside("config.json"),
      engines: inside("engines.json"),
      tokenizer: inside("tokenizer.json"),
      metrics: inside("metrics.jsonl"),
      lossCurve: inside("loss.svg"),
      latest: inside("latest"),
    };
    this.#checkpoints = inside("checkpoints");
    this.#samples = inside("samples");
  }

  /**
   * Begins a run at `path`, making the directory and those above it. Throws `ARGUMENT` where a run is there already (unless
   * `overwrite` is given) or where the directory holds other files and no run.
   */
  static async create(path: string, { recipe, config, overwrite = false }: CreateRunOptions): Promise<RunDirectory> {
    const run = new RunDirectory(path);
    await makeDirectory(run.path);
    await RunDirectory.checkFree(path, { overwrite });
    for (const sample of await entriesOf(run.#samples))
      if (stepOfName(sample) !== undefined) await rm(join(run.#samples, sample), { force: true });
    if ((await entriesOf(run.#samples)).length === 0) await rm(run.#samples, { recursive: true, force: true });
    for (const entry of runEntries) await rm(join(run.path, entry), { recursive: true, force: true });
    await removeTemporaryFiles(run.path);
    await writeJsonFile(run.files.marker, marker);
    await writeJsonFile(run.files.config, config);
    await writeJsonFile(run.files.recipe, recipe);
    return run;
  }

  /** Throws where `create` would, before anything is done: for those who have much to do first. */
  static async checkFree(path: string, { overwrite = false }: { readonly overwrite?: boolean } = {}): Promise<void> {
    const run = new RunDirectory(path);
    const entries = await entriesOf(run.path);
    if (await run.#isRun(entries)) {
      if (overwrite) return;
      throw new ArgumentError(
        `${run.path} holds a run already${await describeProgress(run)}. Resume it, overwrite it, or choose another directory.`,
      );
    }
    // With a marker and without a recipe it is a run whose beginning was interrupted.
    const begun = entries.includes("run.json");
    const foreign = entries.filter((entry) => !entry.startsWith(".") && !(begun && runEntries.includes(entry)));
    if (foreign.length > 0)
      throw new ArgumentError(
        `${run.path} is not a run and not empty: it holds ${listNames(foreign)}. Choose a directory that is new or empty.`,
      );
  }

  /** Opens a run, changing nothing. Throws `ARGUMENT` where there is none, `CONFIG` where its recipe or config is damaged. */
  static async open(path: string): Promise<RunDirectory> {
    const run = new RunDirectory(path);
    const entries = await readDirectory(run.path);
    if (!entries.includes("recipe.json"))
      throw new ArgumentError(`${run.path} is not a run: it has no recipe.json. It holds ${listNames(entries)}.`);
    await run.readRecipe(anyObject);
    await run.readConfig(anyObject);
    return run;
  }

  /** Whether the directory is a run that was made here, and not a folder that happens to hold a recipe. */
  async #isRun(entries: readonly string[]): Promise<boolean> {
    if (entries.includes("run.json")) {
      const { version } = await readJsonFile(this.files.marker, markerSchema, "CONFIG");
      if (version <= marker.version) return entries.includes("recipe.json");
      throw new TsumikiError(
        "CONFIG",
        `${this.path} is a run of version ${version}, made by a newer release; this one knows version ${marker.version}.`,
      );
    }
    return entries.includes("recipe.json") && (await this.engines().catch(() => [])).length > 0;
  }

  /** The recipe as it was given. Throws `CONFIG` where it does not fit `schema`. */
  readRecipe<T>(schema: z.ZodType<T>): Promise<T> {
    return readJsonFile(this.files.recipe, schema, "CONFIG");
  }

  /** The model's resolved configuration. Throws `CONFIG` where it does not fit `schema`. */
  readConfig<T>(schema: z.ZodType<T>): Promise<T> {
    return readJsonFile(this.files.config, schema, "CONFIG");
  }

  /** What the run was computed on, the latest last; empty where nothing tells. Throws `CHECKPOINT` where the file is damaged. */
  async engines(): Promise<readonly RunEngine[]> {
    const entries = await entriesOf(this.path);
    return entries.includes("engines.json") ? readJsonFile(this.files.engines, runEnginesSchema, "CHECKPOINT") : [];
  }

  /** Records what the run is computed on after `now.fromStep` steps. */
  async recordEngine(now: RunEngine): Promise<void> {
    await recordEngine(this.files.engines, await this.engines(), now);
  }

  writeTokenizer(json: string): Promise<void> {
    return writeFileAtomically(this.files.tokenizer, json);
  }

  writeLossCurve(svg: string): Promise<void> {
    return writeFileAtomically(this.files.lossCurve, svg);
  }

  /** Keeps what the model said at a step. */
  async writeSample(step: number, text: string): Promise<void> {
    await mkdir(this.#samples, { recursive: true });
    await writeFileAtomically(join(this.#samples, `${stepName(step)}.txt`), text);
  }

  /** Adds a row; rows are written in the order in which this is called. */
  appendMetrics(row: MetricsRow): Promise<void> {
    return this.#appendInTurn(() => appendRow(this.files.metrics, row));
  }

  /** Every row so far. Throws `CHECKPOINT` where a line is damaged. */
  metrics(): Promise<MetricsRow[]> {
    return readMetrics(this.files.metrics);
  }

  /**
   * Saves a checkpoint: `write` writes `modelPath` and `optimizerPath` (elsewhere than they end up), and when all is on the disk
   * the checkpoint takes its name and those that are no longer kept go. A failure leaves every earlier checkpoint as it was; a
   * full disk is a `CHECKPOINT` error.
   */
  saveCheckpoint(
    step: number,
    write: (files: CheckpointFiles) => Promise<void>,
    options: SaveCheckpointOptions = {},
  ): Promise<Checkpoint> {
    return this.#saveInTurn(async () => {
      const checkpoint = await saveCheckpoint(this.#checkpoints, step, write, options);
      await this.#pointToLatest();
      await pruneCheckpoints(this.#checkpoints, options.keep ?? 2);
      return checkpoint;
    });
  }

  /** The complete checkpoints, oldest step first. */
  checkpoints(): Promise<Checkpoint[]> {
    return listCheckpoints(this.#checkpoints);
  }

  /** The complete checkpoint of the highest step. */
  async latestCheckpoint(): Promise<Checkpoint | undefined> {
    return (await this.checkpoints()).at(-1);
  }

  /** The checkpoint with the smallest validation loss, among those that were saved with one. */
  async bestCheckpoint(): Promise<Checkpoint | undefined> {
    return bestOf(await this.checkpoints());
  }

  /**
   * Makes the run ready to go on after `step` (0: from the beginning): what came after it, and what an interrupted process left,
   * is removed. Load the checkpoint of `step` before, so that nothing is lost when it cannot be read.
   */
  async rewind(step: number): Promise<void> {
    if (!Number.isSafeInteger(step) || step < 0)
      throw new ArgumentError(`A run is rewound to a whole number of steps, not to ${step}.`);
    await cleanCheckpoints(this.#checkpoints);
    // Checkpoints first: a process that stops in between finds the same checkpoint again and cuts the metrics then.
    await removeCheckpointsAfter(this.#checkpoints, step);
    await this.#pointToLatest();
    await cutMetricsAfter(this.files.metrics, step);
    for (const sample of await entriesOf(this.#samples))
      if ((stepOfName(sample) ?? 0) > step) await rm(join(this.#samples, sample), { force: true });
    for (const folder of [this.path, this.#samples]) await removeTemporaryFiles(folder);
  }

  async #pointToLatest(): Promise<void> {
    const latest = (await listCheckpoints(this.#checkpoints)).at(-1);
    if (latest) await writeFileAtomically(this.files.latest, `${stepName(latest.step)}\n`);
    else await rm(this.files.latest, { force: true });
  }
}

/** Runs tasks one after the other, in the order in which they come, failed or not. */
function inTurn(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const result = last.then(task);
    last = result.catch(() => {}); // whoever gave the task hears of it
    return result;
  };
}

/** Makes a directory and those above it. */
export async function makeDirectory(path: string): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true });
    if (first !== undefined) await syncFolder(dirname(first));
  } catch (cause) {
    throw new ArgumentError(`The run directory ${path} cannot be made: ${(cause as Error).message}.`, { cause });
  }
}

async function readDirectory(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    throw new ArgumentError(`There is no run at ${path}: ${(cause as Error).message}.`, { cause });
  }
}

/** Removes what `writeFileAtomically` leaves in `folder` when its process is killed. */
async function removeTemporaryFiles(folder: string): Promise<void> {
  for (const entry of await entriesOf(folder))
    if (/^\..+\.\d+-[0-9a-f]{8}\.tmp$/.test(entry)) await rm(join(folder, entry), { force: true });
}

async function describeProgress(run: RunDirectory): Promise<string> {
  const latest = await run.latestCheckpoint().catch(() => undefined); // damaged or not, there is a run
  return latest ? ` (saved at step ${latest.step})` : "";
}

function listNames(names: readonly string[]): string {
  if (names.length === 0) return "nothing";
  return names.length > 6 ? `${names.slice(0, 6).join(", ")} and ${names.length - 6} more` : names.join(", ");
}
