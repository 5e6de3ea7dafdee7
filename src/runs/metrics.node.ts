/** `metrics.jsonl`: what was measured, one JSON object a line, in the order of the steps. */

import { appendFile, readFile, truncate } from "node:fs/promises";
import * as z from "zod";
import { ArgumentError, TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";

/** JSON has no NaN and no infinity: a number that is not finite is written as null. */
const measured = z.number().nullish();

const rowSchema = z.looseObject({
  /** Training steps done when this was measured. */
  step: z.int().nonnegative(),
  /** Training loss of this step, in nats per token. */
  loss: measured,
  /** What else was made small in this step: the z-loss, what balances experts. Absent where there is nothing else. */
  auxiliaryLoss: measured,
  /** Loss on the validation split, in nats per token; on the steps that were followed by a validation. */
  validationLoss: measured,
  /** The same, in bits per byte of text. */
  validationBitsPerByte: measured,
  learningRate: measured,
  /** Norm of the gradient over all parameters, before clipping. */
  gradientNorm: measured,
  tokensPerSecond: measured,
  /** Wall time since the run (not this process) began, training and validation. */
  seconds: measured,
});

/** What was measured at a step; every field but `step` may be missing, and others may be added. */
export type MetricsRow = z.infer<typeof rowSchema>;

/**
 * The rows of a metrics file, none where there is no file. A last line that an interrupted process left unfinished is passed
 * over.
 */
export async function readMetrics(path: string): Promise<MetricsRow[]> {
  return parse(path, await readText(path)).map(({ row }) => row);
}

/** Adds a row. Throws `ARGUMENT` where it is not one, and the disk's error as it is; then the file ends with the row before. */
export async function appendRow(path: string, row: MetricsRow): Promise<void> {
  const parsed = rowSchema.safeParse(JSON.parse(JSON.stringify(row)));
  if (!parsed.success) throw new ArgumentError(`This is not a row of metrics:\n${z.prettifyError(parsed.error)}`);
  try {
    await appendFile(path, `${JSON.stringify(parsed.data)}\n`);
  } catch (error) {
    await dropUnfinishedLine(path).catch(() => {}); // the first error is the one to tell
    throw error;
  }
}

/** Cuts off a last line without its line break, in place. */
async function dropUnfinishedLine(path: string): Promise<void> {
  const bytes = await readFile(path);
  await truncate(path, bytes.lastIndexOf(0x0a) + 1);
}

/** Keeps the rows up to and with `step`, as they were written, and finishes an unfinished file; atomically. */
export async function cutMetricsAfter(path: string, step: number): Promise<void> {
  const text = await readText(path);
  const kept = parse(path, text)
    .filter(({ row }) => row.step <= step)
    .map(({ line }) => `${line}\n`)
    .join("");
  if (kept !== text) await writeFileAtomically(path, kept);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

function parse(path: string, text: string): { line: string; row: MetricsRow }[] {
  const lines = text.split("\n");
  const unfinished = lines.pop() ?? "";
  const rows = lines.map((line, index) => {
    const row = parseLine(line);
    if (!row) throw new TsumikiError("CHECKPOINT", `Line ${index + 1} of ${path} is not a row of metrics: ${line.slice(0, 80)}`);
    return { line, row };
  });
  const last = parseLine(unfinished);
  return last ? [...rows, { line: unfinished, row: last }] : rows;
}

function parseLine(line: string): MetricsRow | undefined {
  try {
    return rowSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
