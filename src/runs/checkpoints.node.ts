/**
 * The `checkpoints/` folder of a run. What is called `step-000500` is complete: it was written as `.saving-...`, synced and
 * renamed. Where a step is saved again, the one before waits as `.replaced-step-000500` until the new one has its name, and
 * counts as the checkpoint of that step as long as it is the only one. What is to go is first renamed to `.removing-...`, so that
 * nothing half deleted looks complete.
 */

import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import * as z from "zod";
import { ArgumentError, TsumikiError } from "../errors.js";
import { syncFolder } from "../files/atomic.node.js";
import { readJsonFile, writeJsonFile } from "./json-file.node.js";

/** Where the files of a checkpoint are, or are to be written. */
export interface CheckpointFiles {
  readonly directory: string;
  /** `model.safetensors`: the parameters. */
  readonly modelPath: string;
  /** `optimizer.safetensors`: the optimizer's state. */
  readonly optimizerPath: string;
  /** `adapter.safetensors`: of a tuned model, what is trained beside it. */
  readonly adapterPath: string;
}

/** A complete checkpoint. */
export interface Checkpoint extends CheckpointFiles {
  /** Training steps that it has behind it. */
  readonly step: number;
  /** In nats per token; absent where the run did not validate at this step. */
  readonly validationLoss?: number;
  /** What the training loop gave to be kept: data position, schedule, accumulation. Not validated here. */
  readonly training: unknown;
}

export interface SaveCheckpointOptions {
  /** In nats per token: by it the best checkpoint is found. A loss that is not finite counts as none. */
  readonly validationLoss?: number;
  /** What the training loop needs to go on; any JSON. */
  readonly training?: unknown;
  /** How many of the newest checkpoints stay, besides the best (default 2). */
  readonly keep?: number;
}

const stateFile = "state.json";
const stateSchema = z.object({
  step: z.int().nonnegative(),
  validationLoss: z.number().nullish(),
  training: z.unknown(),
});

const saving = ".saving-";
const replaced = ".replaced-";
const removing = ".removing-";

/** `step-000500`: padded, so that names sort as steps do. */
export const stepName = (step: number): string => `step-${String(step).padStart(6, "0")}`;

/** The step of a name that `stepName` made, extension aside. */
export function stepOfName(name: string): number | undefined {
  const digits = /^step-(\d{6,})(?:\.\w+)?$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

const filesIn = (directory: string): CheckpointFiles => ({
  directory,
  modelPath: join(directory, "model.safetensors"),
  optimizerPath: join(directory, "optimizer.safetensors"),
  adapterPath: join(directory, "adapter.safetensors"),
});

/**
 * Saves the checkpoint of `step`: `write` writes the tensors, the state goes beside them, everything is synced and then takes its
 * name. When anything fails, what was begun is removed and every earlier checkpoint is as it was.
 */
export async function saveCheckpoint(
  folder: string,
  step: number,
  write: (files: CheckpointFiles) => Promise<void>,
  { validationLoss, training = null }: SaveCheckpointOptions,
): Promise<Checkpoint> {
  if (!Number.isSafeInteger(step) || step < 0)
    throw new ArgumentError(`A checkpoint needs a step that is a whole number, not ${step}.`);
  const name = stepName(step);
  const target = join(folder, name);
  const temporary = join(folder, `${saving}${name}-${randomBytes(4).toString("hex")}`);
  try {
    await mkdir(temporary, { recursive: true });
    const files = filesIn(temporary);
    await write(files);
    await requireFile(files.modelPath);
    await writeJsonFile(join(temporary, stateFile), { step, validationLoss, training });
    await syncTree(temporary);
    if (await exists(target)) {
      await discard(join(folder, replaced + name));
      await rename(target, join(folder, replaced + name));
    }
    await rename(temporary, target);
    await syncFolder(folder);
    await syncFolder(dirname(folder)); // the folder itself may be new
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw isSystemError(error) ? cannotSave(step, folder, error) : error;
  }
  await discard(join(folder, replaced + name));
  return readCheckpoint(target, step);
}

/** The complete checkpoints, oldest step first. Throws `CHECKPOINT` where a state cannot be read. */
export async function listCheckpoints(folder: string): Promise<Checkpoint[]> {
  const directories = await findCheckpoints(folder);
  return Promise.all([...directories].sort(([a], [b]) => a - b).map(([step, directory]) => readCheckpoint(directory, step)));
}

/** The checkpoint with the smallest validation loss, the earliest of equals. */
export function bestOf(checkpoints: readonly Checkpoint[]): Checkpoint | undefined {
  const loss = (checkpoint: Checkpoint | undefined) => checkpoint?.validationLoss ?? Number.POSITIVE_INFINITY;
  return checkpoints.reduce<Checkpoint | undefined>((best, next) => (loss(next) < loss(best) ? next : best), undefined);
}

/** Removes all but the `keep` newest checkpoints and the best. */
export async function pruneCheckpoints(folder: string, keep: number): Promise<void> {
  if (!Number.isSafeInteger(keep) || keep < 1)
    throw new ArgumentError(`A run keeps at least 1 of its newest checkpoints, not ${keep}.`);
  const checkpoints = await listCheckpoints(folder);
  const kept = new Set([...checkpoints.slice(-keep), bestOf(checkpoints)]);
  for (const checkpoint of checkpoints) if (!kept.has(checkpoint)) await removeCheckpoint(folder, checkpoint.step);
}

/** Removes the checkpoints beyond `step`. */
export async function removeCheckpointsAfter(folder: string, step: number): Promise<void> {
  const later = [...(await findCheckpoints(folder)).keys()].filter((other) => other > step).sort((a, b) => b - a);
  for (const other of later) await removeCheckpoint(folder, other);
}

/** Finishes or undoes what an interrupted process left: only the process that writes to the run may call this. */
export async function cleanCheckpoints(folder: string): Promise<void> {
  const entries = await entriesOf(folder);
  for (const entry of entries) {
    if (entry.startsWith(saving) || entry.startsWith(removing)) await rm(join(folder, entry), { recursive: true, force: true });
    if (!entry.startsWith(replaced)) continue;
    const name = entry.slice(replaced.length);
    if (entries.includes(name)) await discard(join(folder, entry));
    else await rename(join(folder, entry), join(folder, name));
  }
}

/** The directory of each step's complete checkpoint. */
async function findCheckpoints(folder: string): Promise<Map<number, string>> {
  const entries = await entriesOf(folder);
  const found = new Map<number, string>();
  for (const prefix of [replaced, ""]) {
    for (const entry of entries) {
      const step = entry.startsWith(prefix) ? stepOfName(entry.slice(prefix.length)) : undefined;
      if (step !== undefined) found.set(step, join(folder, entry));
    }
  }
  return found;
}

async function readCheckpoint(directory: string, step: number): Promise<Checkpoint> {
  const path = join(directory, stateFile);
  const state = await readJsonFile(path, stateSchema, "CHECKPOINT");
  if (state.step !== step)
    throw new TsumikiError("CHECKPOINT", `${path} is of step ${state.step}, but its directory says ${step}.`);
  const { validationLoss, training } = state;
  return { step, ...filesIn(directory), ...(typeof validationLoss === "number" ? { validationLoss } : {}), training };
}

async function removeCheckpoint(folder: string, step: number): Promise<void> {
  await discard(join(folder, replaced + stepName(step))); // first: once alone it would count as the checkpoint
  await discard(join(folder, stepName(step)));
}

async function discard(directory: string): Promise<void> {
  const renamed = join(dirname(directory), `${removing}${basename(directory)}-${randomBytes(4).toString("hex")}`);
  try {
    await rename(directory, renamed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  await rm(renamed, { recursive: true, force: true });
}

/** Makes the content of every file below `folder`, and the names in it, durable. */
async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) {
      const file = await open(path, "r+"); // Windows syncs only what is open for writing
      await file.sync().finally(() => file.close());
    }
  }
  await syncFolder(folder);
}

async function requireFile(path: string): Promise<void> {
  if (!(await exists(path))) throw new TsumikiError("CHECKPOINT", `The checkpoint was written without its ${basename(path)}.`);
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The names in a folder; none where there is no folder. */
export async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

const isSystemError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && "syscall" in error;

const cannotSave = (step: number, folder: string, cause: NodeJS.ErrnoException): TsumikiError => {
  const what = cause.code === "ENOSPC" ? "the disk is full; free some space" : cause.message;
  return new TsumikiError(
    "CHECKPOINT",
    `The checkpoint of step ${step} could not be saved in ${folder}: ${what}. The earlier checkpoints are as they were.`,
    { cause },
  );
};
