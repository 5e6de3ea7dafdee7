/** `tsumiki tokenizer train` */

import { chmod, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { SingleBar } from "cli-progress";
import { textOf } from "../../data/example.js";
import { readExamples } from "../../data/examples.node.js";
import { ArgumentError, TsumikiError } from "../../errors.js";
import { syncFolder } from "../../files/atomic.node.js";
import {
  type Tokenizer,
  type TokenizerPreset,
  type TokenizerTraining,
  type TrainingProgress,
  trainTokenizer,
} from "../../tokenizer/index.js";
import { presets } from "../../tokenizer/training/presets.js";
import { interruptSignal } from "../interrupt.js";

export interface TrainFlags {
  readonly model?: "bpe" | "wordpiece" | "unigram";
  readonly preset?: TokenizerPreset;
  readonly vocabSize?: number;
  readonly out: string;
  readonly overwrite?: boolean;
  readonly special?: readonly string[];
  readonly level?: "byte" | "character";
  readonly by?: "frequency" | "likelihood";
  readonly minFrequency?: number;
  readonly limitAlphabet?: number;
  readonly threads?: number;
  readonly maxWords?: number;
  readonly onBadRow: "stop" | "skip";
  readonly textField?: string;
}

export async function trainCommand(files: readonly string[], flags: TrainFlags): Promise<void> {
  await checkTarget(flags.out, flags.overwrite === true); // before the work, not after it
  const options = trainingOptions(flags);
  const data = await readExamples(files, {
    onBadRow: flags.onBadRow,
    ...(flags.textField === undefined ? {} : { textField: flags.textField }),
  });
  for (const path of data.ignored) console.error(`${path} is not read: its ending is not known.`);
  const texts = { documents: 0, empty: 0, units: 0 };
  const source = async function* (): AsyncGenerator<string> {
    for await (const example of data) {
      const text = textOf(example);
      texts.documents += example.kind === "text" && example.continues === true ? 0 : 1;
      texts.units += text.length;
      if (text === "") texts.empty++;
      else yield text;
    }
  };
  const started = performance.now();
  const forgotten = { words: 0, occurrences: 0 };
  const report = progressReport(() => data.progress.read / Math.max(1, data.progress.total));
  let tokenizer: Tokenizer;
  try {
    tokenizer = await trainTokenizer(source(), {
      ...options,
      signal: interruptSignal(),
      onProgress: report.show,
      onForgotten: (words) => Object.assign(forgotten, words),
    });
  } finally {
    report.stop();
    for (const line of data.badRows.describe()) console.error(line); // also where nothing was left to learn from
  }
  await writeDirectory(tokenizer, flags.out);
  if (texts.empty > 0) console.error(`${count(texts.empty)} of ${count(texts.documents)} documents are empty.`);
  if (forgotten.words > 0)
    console.error(
      `${count(forgotten.words)} rare words (${count(forgotten.occurrences)} occurrences) were forgotten to save memory; more with --max-words.`,
    );
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${flags.out}: ${count(tokenizer.vocabSize)} tokens, learned from ${count(texts.documents)} documents in ${seconds} s`,
  );
  if (tokenizer.vocabSize < options.vocabSize)
    console.log(`The texts have no more to learn from: ${count(options.vocabSize)} were asked for.`);
}

const count = (number: number): string => number.toLocaleString("en-US");

function trainingOptions(flags: TrainFlags): Exclude<TokenizerTraining, { model: "character" }> {
  const preset = flags.preset && presets[flags.preset];
  const model = flags.model ?? preset?.model;
  if (model === undefined || model === "character")
    throw new ArgumentError("Say what to train: --model bpe, wordpiece or unigram, or --preset.");
  const only = (flag: "level" | "by" | "minFrequency" | "limitAlphabet", models: readonly string[]) => {
    if (flags[flag] !== undefined && !models.includes(model))
      throw new ArgumentError(
        `--${flag.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} goes with --model ${models.join(" or ")}.`,
      );
  };
  only("level", ["bpe"]);
  only("by", ["wordpiece"]);
  only("minFrequency", ["bpe", "wordpiece"]);
  only("limitAlphabet", ["bpe", "wordpiece"]);
  const { level, by, minFrequency, limitAlphabet, threads, maxWords, special } = flags;
  return {
    model,
    vocabSize: flags.vocabSize ?? preset?.vocabSize ?? 32_000,
    ...(flags.preset !== undefined && { preset: flags.preset }),
    ...(special !== undefined && { specialTokens: special }),
    ...(level !== undefined && { level }),
    ...(by !== undefined && { by }),
    ...(minFrequency !== undefined && { minFrequency }),
    ...(limitAlphabet !== undefined && { limitAlphabet }),
    ...(threads !== undefined && { threads }),
    ...(maxWords !== undefined && { maxWords }),
  } as Exclude<TokenizerTraining, { model: "character" }>;
}

/** A bar on a terminal; elsewhere nothing is shown until the result. */
function progressReport(shareRead: () => number) {
  const bar = process.stderr.isTTY
    ? new SingleBar({ format: "{what} {bar} {percentage} %  {detail}", stream: process.stderr, clearOnComplete: true })
    : undefined;
  bar?.start(1, 0, { what: "reading", detail: "" });
  return {
    show(progress: TrainingProgress) {
      if ("reading" in progress) bar?.update(Math.min(1, shareRead()), { what: "reading", detail: "" });
      else
        bar?.update(Math.min(1, Math.min(progress.tokens, progress.of) / Math.max(progress.tokens, progress.of)), {
          what: "learning",
          detail: `${count(progress.tokens)} of ${count(progress.of)} tokens`,
        });
    },
    stop: () => bar?.stop(),
  };
}

async function checkTarget(folder: string, overwrite: boolean): Promise<void> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException): string[] => {
    if (cause.code === "ENOENT") return [];
    if (cause.code === "ENOTDIR") throw new ArgumentError(`${folder} is a file; --out takes a folder.`);
    throw new TsumikiError("TOKENIZER", `${folder} cannot be read: ${cause.message}`, { cause });
  });
  if (names.includes("tokenizer.json") && !overwrite)
    throw new ArgumentError(`There is a tokenizer in ${folder} already. Choose another folder, or replace it with --overwrite.`);
}

/** A folder that is new appears when it is complete; into one that is there the files are put one by one, each whole. */
async function writeDirectory(tokenizer: Tokenizer, folder: string): Promise<void> {
  const target = resolve(folder);
  try {
    const isNew = await readdir(target).then(
      (names) => names.length === 0,
      () => true,
    );
    if (!isNew) return await tokenizer.save(target);
    await mkdir(dirname(target), { recursive: true });
    const temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
    try {
      await tokenizer.save(temporary);
      await chmod(temporary, 0o777 & ~process.umask()); // mkdtemp keeps others out
      await rename(temporary, target);
      await syncFolder(dirname(target));
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  } catch (cause) {
    throw new TsumikiError("TOKENIZER", `${folder} cannot be written: ${(cause as Error).message}`, { cause });
  }
}
