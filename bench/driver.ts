/** Starts competitors as processes of their own and runs them interleaved, so that whatever else the machine does hits all alike. */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { FinishReply, FirstReply, PeerConfig, Ready, Request, RunReply, ValidateReply } from "./protocol.js";

/** One process to compare. */
export interface Competitor {
  /** Who, in the rows of the result. */
  readonly by: string;
  /** Whose matrix products `matmulShare` refers to: several competitors may share a library. */
  readonly library: string;
  /** A file in bench/peers: `.py` runs in the Python of TSUMIKI_PYTHON, `.ts` in Node. */
  readonly script: string;
  readonly config: PeerConfig;
  /** Steps (or passes over the matrix products) in one timed repetition; slow peers do fewer. */
  readonly stepsPerRepetition: number;
}

/** What became of a competitor. */
export interface Outcome {
  readonly competitor: Competitor;
  readonly ready: Ready;
  readonly warmups: RunReply[];
  /** The timed repetitions: `runs[i]` of all competitors of a group belong to one round. */
  readonly runs: RunReply[];
  /** Task `nanogpt`: the loss on the validation text after each seed's training. */
  readonly validations: ValidateReply[];
  peakMemoryBytes: number;
}

export interface Skipped {
  readonly competitor: Competitor;
  readonly reason: string;
  /** It is installed but broke: this is an error, where an absent peer is none. */
  readonly failed: boolean;
}

export interface DriveOptions {
  /** Timed repetitions of each competitor (for `nanogpt` they follow from its steps). */
  readonly rounds: number;
  /** Repetitions of each before the timing begins. */
  readonly warmups: number;
  readonly onProgress: (line: string) => void;
}

/** Rests between two repetitions, so that the threads of the one before have gone to sleep. */
const SETTLE_MILLISECONDS = 100;
const ERROR_TAIL = 2000;
const peersFolder = fileURLToPath(new URL("peers/", import.meta.url));

/**
 * Measures a group of competitors: one after the other prepares itself, then in every round each does one repetition, in an
 * order that rotates from round to round. Who fails on the way drops out; the others go on.
 */
export async function drive(
  competitors: readonly Competitor[],
  { rounds, warmups, onProgress }: DriveOptions,
): Promise<{ outcomes: Outcome[]; skipped: Skipped[] }> {
  const skipped: Skipped[] = [];
  const processes = new Map<Outcome, PeerProcess>();
  const outcomes = () => [...processes.keys()];

  /** Asks a competitor; when it fails it is skipped from here on. */
  const ask = async <Reply>(outcome: Outcome, request: Request): Promise<Reply | undefined> => {
    const process = processes.get(outcome);
    try {
      return await process?.ask<Reply>(request);
    } catch (error) {
      process?.stop();
      processes.delete(outcome);
      skipped.push({ competitor: outcome.competitor, reason: (error as Error).message, failed: true });
      return undefined;
    }
  };

  const doRound = async (round: number, kept: "warmups" | "runs") => {
    for (const outcome of rotated(outcomes(), round)) {
      await sleep(SETTLE_MILLISECONDS);
      const reply = await ask<RunReply>(outcome, { run: outcome.competitor.stepsPerRepetition });
      if (reply) outcome[kept].push(reply);
    }
  };

  try {
    for (const competitor of competitors) {
      onProgress(`${describe(competitor)}: preparing`);
      const started = await start(competitor);
      if ("reason" in started) skipped.push(started);
      else processes.set(emptyOutcome(competitor, started.ready), started.process);
    }

    const workload = competitors[0]?.config.workload;
    if (workload?.architecture === "nanogpt") {
      for (const seed of workload.seeds) {
        for (const outcome of outcomes()) await ask(outcome, { start: seed });
        for (let step = 0; step < workload.steps; step += workload.stepsPerRepetition) {
          onProgress(`seed ${seed}, from step ${step}`);
          await doRound(step / workload.stepsPerRepetition, "runs");
        }
        for (const outcome of outcomes()) {
          const reply = await ask<ValidateReply>(outcome, { validate: true });
          if (reply) outcome.validations.push(reply);
          if (reply) onProgress(`seed ${seed}, ${describe(outcome.competitor)}: validation loss ${reply.loss.toFixed(4)}`);
        }
      }
    } else {
      for (let round = 0; round < warmups; round++) {
        onProgress("warming up");
        await doRound(round, "warmups");
      }
      for (let round = 0; round < rounds; round++) {
        onProgress(`round ${round + 1} of ${rounds}`);
        await doRound(round, "runs");
      }
    }

    for (const outcome of outcomes()) {
      const reply = await ask<FinishReply>(outcome, { finish: true });
      if (reply) outcome.peakMemoryBytes = reply.peakMemoryBytes;
    }
    return { outcomes: outcomes(), skipped };
  } finally {
    for (const process of processes.values()) process.stop();
  }
}

const emptyOutcome = (competitor: Competitor, ready: Ready): Outcome => ({
  competitor,
  ready,
  warmups: [],
  runs: [],
  validations: [],
  peakMemoryBytes: 0,
});

/** Starts a competitor and waits until it is ready, or says why it is skipped. */
async function start(competitor: Competitor): Promise<{ process: PeerProcess; ready: Ready } | Skipped> {
  if (competitor.script.endsWith(".py") && !process.env.TSUMIKI_PYTHON) {
    const reason = "TSUMIKI_PYTHON is not set: it names a Python that has torch and numpy installed";
    return { competitor, reason, failed: false };
  }
  const peer = new PeerProcess(competitor);
  try {
    const first = await peer.reply<Exclude<FirstReply, { error: string }>>();
    if ("ready" in first) return { process: peer, ready: first.ready };
    return { competitor, reason: first.absent, failed: false };
  } catch (error) {
    peer.stop();
    return { competitor, reason: (error as Error).message, failed: true };
  }
}

/** A running competitor; see protocol.ts. */
class PeerProcess {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly lines: AsyncIterator<string>;
  private errors = "";

  constructor({ script, config }: Competitor) {
    const path = `${peersFolder}${script}`;
    const [command, args] = script.endsWith(".py")
      ? [process.env.TSUMIKI_PYTHON as string, [path]]
      : [process.execPath, ["--import", "tsx", "--conditions", "tsumiki-source", path]];
    const threads = String(config.threads);
    const env = { ...process.env, OMP_NUM_THREADS: threads, MKL_NUM_THREADS: threads };
    this.child = spawn(command, [...args, JSON.stringify(config)], { env });
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.errors = (this.errors + text).slice(-ERROR_TAIL);
    });
    this.child.on("error", (error) => {
      this.errors += error.message;
      this.child.stdout.destroy();
    });
    this.child.stdin.on("error", () => {}); // a process that has died is noticed by its missing reply
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async reply<Reply extends object>(): Promise<Reply> {
    const { value, done } = await this.lines.next();
    const reply = (done ? { error: "the process ended" } : JSON.parse(value)) as Reply | { error: string };
    if ("error" in reply) {
      await sleep(200); // let the rest of standard error arrive
      throw new Error(`${reply.error}\n${this.errors}`.trim());
    }
    return reply;
  }

  async ask<Reply>(request: Request): Promise<Reply> {
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    return (await this.reply<object>()) as Reply;
  }

  stop(): void {
    this.child.kill("SIGKILL");
  }
}

export function describe({ by, config }: Competitor): string {
  const task = config.task === "matmul" ? ", matrix products" : "";
  return `${by} ${config.precision}${task} (${config.workload.name})`;
}

/** The same list, begun `by` places later. */
export function rotated<T>(list: readonly T[], by: number): T[] {
  const start = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
