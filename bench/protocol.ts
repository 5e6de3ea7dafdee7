/**
 * How the driver talks with a peer: each competitor is a process of its own that stays resident and answers one JSON object
 * a line. It gets its PeerConfig as its first argument, prepares itself, says `ready` (or why it cannot), and then answers
 * requests until `finish`. Only replies may appear on its standard output.
 */

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { MatmulShape, Workload } from "./workloads.js";

export type Task = "step" | "matmul" | "nanogpt";
export type Precision = "fp32" | "bf16";

/** What a peer is started with. */
export interface PeerConfig {
  readonly task: Task;
  /** A peer's own variant: PyTorch's `eager` or `compiled`, tfjs's backend, the device of an engine. */
  readonly mode: string;
  readonly precision: Precision;
  readonly threads: number;
  readonly workload: Workload;
  /** The products of task `matmul`; empty otherwise. */
  readonly matmulShapes: readonly MatmulShape[];
  /** UTF-8 text whose characters task `nanogpt` learns. */
  readonly textFile?: string;
}

/** The first line a peer says. */
export type FirstReply = { readonly ready: Ready } | { readonly absent: string } | { readonly error: string };

export interface Ready {
  /** What precedes the first step: tracing, differentiating, compiling, making a session. */
  readonly compileSeconds: number;
  readonly firstStepSeconds: number;
  /** 0 for task `matmul`. */
  readonly parameters: number;
  readonly versions: Readonly<Record<string, string>>;
}

export type Request =
  /** One timed repetition of so many steps (task `matmul`: passes over the shapes). */
  | { readonly run: number }
  /** Task `nanogpt`: begin a training with this seed. */
  | { readonly start: number }
  /** Task `nanogpt`: the loss on the whole validation text. */
  | { readonly validate: true }
  | { readonly finish: true };

export interface RunReply {
  readonly seconds: number;
  readonly tokens: number;
  readonly peakMemoryBytes: number;
  /** The loss of the last step. */
  readonly loss?: number;
  /** The part of `seconds` spent outside the engine's own `run`, where a peer can tell. */
  readonly overheadSeconds?: number;
  /** Task `matmul`: mean seconds of one product of each shape; `seconds` weighs them with their counts. */
  readonly shapeSeconds?: readonly number[];
}

export interface ValidateReply {
  readonly loss: number;
  readonly tokens: number;
}

export interface FinishReply {
  readonly peakMemoryBytes: number;
}

/** What a peer written in TypeScript provides. */
export interface Peer {
  readonly ready: Ready;
  run(count: number): Promise<Omit<RunReply, "peakMemoryBytes">>;
  start?(seed: number): Promise<void>;
  validate?(): Promise<ValidateReply>;
  /** Where the work is not done in this process: the most memory that those processes ever held in RAM. */
  peakMemoryBytes?(): Promise<number>;
}

/** A peer whose software is not installed; the reason says how to install it. */
export class PeerAbsent extends Error {}

/** The most memory that this process ever held in RAM. */
export const peakMemoryBytes = (): number =>
  process.platform === "linux" ? peakMemoryOf("self") : process.resourceUsage().maxRSS * 1024;

/** The same of another process, by its id; on Linux. */
export function peakMemoryOf(processId: number | "self"): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${processId}/status`, "utf8"));
  return Number(line?.[1]) * 1024;
}

/** Runs a peer of this process: makes it, then answers the driver until it says `finish`. */
export async function servePeer(make: (config: PeerConfig) => Promise<Peer>): Promise<void> {
  const say = (reply: object) => process.stdout.write(`${JSON.stringify(reply)}\n`);
  console.log = console.info = console.error; // what a library prints must not reach standard output
  try {
    const peer = await make(JSON.parse(process.argv[2] ?? "") as PeerConfig);
    const memory = async () => ({ peakMemoryBytes: (await peer.peakMemoryBytes?.()) ?? peakMemoryBytes() });
    say({ ready: peer.ready });
    for await (const line of createInterface({ input: process.stdin })) {
      const request = JSON.parse(line) as Request;
      if ("run" in request) say({ ...(await peer.run(request.run)), ...(await memory()) });
      else if ("start" in request) say({ started: await peer.start?.(request.start) });
      else if ("validate" in request) say({ ...(await peer.validate?.()) });
      else {
        say(await memory());
        break;
      }
    }
    process.exit(0); // workers of a library must not keep the process alive
  } catch (error) {
    if (error instanceof PeerAbsent) {
      say({ absent: error.message });
      process.exit(0);
    }
    say({ error: error instanceof Error ? error.message : String(error) });
    console.error(error);
    process.exit(1);
  }
}
