/** The commands that train and sample, as processes: what they print and leave, how they end, and what they say to bad input. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fromSource } from "../scripts/from-source.mjs";

const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-start-"));
});
afterEach(() => rm(folder, { recursive: true }));

interface Ended {
  /** null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param onOutput sees all of standard output so far, each time there is more */
async function ended(child: ChildProcess, onOutput: (stdout: string) => void = () => {}): Promise<Ended> {
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
    onOutput(stdout);
  });
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

const start = (...parameters: string[]) => spawn(process.execPath, [...fromSource, main, ...parameters], { cwd: folder });
const tsumiki = (...parameters: string[]) => ended(start(...parameters));

/** A run of a few seconds, and so that a checkpoint is larger than the limit that plays the full disk. */
async function writeRecipe(): Promise<void> {
  await writeFile(join(folder, "sea.txt"), "the whale swims; the ship sails; the sea is deep and wide. ".repeat(100));
  const recipe = {
    data: { files: ["sea.txt"] },
    tokenizer: { model: "character" },
    model: { architecture: "llama", hiddenSize: 96, numHiddenLayers: 3, numAttentionHeads: 3 },
    training: { steps: 40, batchSize: 8, context: 32, learningRate: 1e-3, validateEvery: 20, saveEvery: 20 },
    samples: { prompts: ["the"], maxTokens: 8 },
    // `auto` measures which is faster, and beside other work may choose otherwise for a second run.
    engine: { precision: "fp32" },
  };
  await writeFile(join(folder, "sea.json"), JSON.stringify(recipe));
}

const metrics = async (run: string) => {
  const rows = (await readFile(join(folder, run, "metrics.jsonl"), "utf8")).trim().split("\n");
  return rows.map((row) => JSON.parse(row) as Record<string, number>).map(({ seconds, tokensPerSecond, ...rest }) => rest);
};
const checkpoints = async (run: string) => (await readdir(join(folder, run, "checkpoints"))).sort();

/** Trains until `line` is printed and then presses Ctrl-C. */
async function interrupted(line: RegExp, ...parameters: string[]): Promise<Ended> {
  const child = start(...parameters);
  let sent = false;
  return ended(child, (stdout) => {
    if (sent || !line.test(stdout)) return;
    sent = true;
    child.kill("SIGINT");
  });
}

describe("tsumiki start", () => {
  it("trains, shows the curve and samples, and saves; the second time the model speaks", async () => {
    const { code, stdout, stderr } = await tsumiki("start", "--steps", "2");
    expect([code, stderr]).toEqual([0, ""]);
    for (const part of [
      /^text +moby-dick: [\d,]+ tokens to train on/m,
      /^model .* million parameters$/m,
      /^step 1\/2 {2}loss \d\.\d{4} {2}[\d,]+ tokens\/s {2}\d+:\d\d left$/m,
      /^step 2: validation loss \d\.\d+ nats per token, \d\.\d+ bits per byte$/m,
      /loss \(nats per token\) by step/,
      /^--- "Call me"\nCall me/m,
      /^Saved in runs\/start:$/m,
      /^Next:\n {2}npx tsumiki sample runs\/start/m,
    ])
      expect(stdout).toMatch(part);
    expect(stdout).not.toMatch(/[^\P{Cc}\n]/u); // no terminal, no control sequences; and none that the young model says
    expect((await readdir(join(folder, "runs/start"))).sort()).toEqual([
      ...[
        "checkpoints",
        "config.json",
        "engines.json",
        "generation_config.json",
        "latest",
        "loss.svg",
        "metrics.jsonl",
        "model.safetensors",
      ],
      ...["recipe.json", "run.json", "samples", "tokenizer.json", "tokenizer_config.json"],
    ]);

    const again = await tsumiki("start");
    expect([again.code, again.stderr]).toEqual([0, ""]);
    expect(again.stdout).toMatch(
      /^The model in runs\/start is trained \(2 steps, [\d.]+ bits per byte\)\. It says:\n\n--- "Call me"\nCall me/,
    );
    expect(again.stdout).not.toContain("step 1");

    const other = await tsumiki("start", "--steps", "5");
    expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/has 2 steps, not 5\. Begin anew with --fresh/) });
  });

  it("refuses a number of steps that is none", async () => {
    const { code, stderr } = await tsumiki("start", "--steps", "few");
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/'few' is invalid.*whole number from 1/);
  });
});

describe("tsumiki train", () => {
  beforeEach(writeRecipe);

  it("saves at Ctrl-C, survives a full disk, and goes on to what an undisturbed run gives", async () => {
    expect(await tsumiki("train", "sea.json", "--out", "straight")).toMatchObject({ code: 0, stderr: "" });

    const stopped = await interrupted(/^step +8\//m, "train", "sea.json", "--out", "run");
    expect(stopped).toMatchObject({ code: 130, stderr: expect.stringContaining("Stopping (Ctrl-C again to stop at once)") });
    const step = Number(
      /^Stopped after step (\d+) of 40; saved in run\. Go on with: npx tsumiki train --resume --out run$/m.exec(
        stopped.stdout,
      )?.[1],
    );
    expect(step).toBeGreaterThanOrEqual(8);
    const before = await checkpoints("run");
    expect(before.at(-1)).toBe(`step-${String(step).padStart(6, "0")}`);

    if (process.platform !== "win32") {
      // A limit of 512 blocks of 512 or 1,024 bytes: the kernel refuses the write in the middle of the file, as a full disk would.
      const script = 'ulimit -f 512 && exec "$0" "$@"';
      const full = spawn("sh", ["-c", script, process.execPath, ...fromSource, main, "train", "--resume", "--out", "run"], {
        cwd: folder,
      });
      expect(await ended(full)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /Error \[CHECKPOINT\]: The checkpoint of step \d+ could not be saved in .*earlier checkpoints are as they were/,
        ),
      });
      expect(await checkpoints("run")).toEqual(before);
    }

    expect(await tsumiki("train", "--resume", "--out", "run")).toMatchObject({ code: 0, stderr: "" });
    expect(await metrics("run")).toEqual(await metrics("straight"));
  });

  it("takes flags over the recipe, and lets a run that has not ended speak", async () => {
    const { code } = await interrupted(
      /^step +10\//m,
      "train",
      "sea.json",
      "--steps",
      "50",
      "--seed",
      "3",
      "--set",
      "training.weightDecay=0.01",
    );
    expect(code).toBe(130);
    const recipe = JSON.parse(await readFile(join(folder, "runs/sea/recipe.json"), "utf8")) as object;
    expect(recipe).toMatchObject({
      data: { files: [join(folder, "sea.txt")] },
      training: { steps: 50, seed: 3, weightDecay: 0.01, learningRate: 1e-3 },
    });
    const spoken = await tsumiki("sample", "runs/sea", "the sea", "--max-tokens", "5", "--seed", "1");
    expect(spoken).toMatchObject({ code: 0, stdout: expect.stringMatching(/^the sea[\s\S]{5}\n$/) });
    expect(await tsumiki("sample", "runs/sea", "the sea", "--max-tokens", "5", "--seed", "1")).toEqual(spoken);
  });

  it.each([
    [["train", "--data", "nowhere.txt"], /\[DATA\]: There is no file or folder at .*nowhere\.txt/],
    [["train", "--data", "empty.txt"], /\[DATA\]: .*empty\.txt, line 1, field text: is empty/],
    [["train", "sea.json", "--context", "100000"], /\[DATA\]: The context is 100000 tokens, but only \d+/],
    [["train", "sea.json", "--tokenizer", "bpe", "--vocab-size", "0"], /'0' is invalid.*whole number from 1/],
    [["train", "sea.json", "--tokenizer", "bpe", "--vocab-size", "1"], /\[CONFIG\][\s\S]*tokenizer\.vocabSize: 1 was given/],
    [
      ["train", "sea.json", "--tokenizer", "bpe", "--vocab-size", "100"],
      /\[TOKENIZER\]: vocabSize is 100, but this vocabulary holds the 256 bytes/,
    ],
    [
      ["train", "sea.json", "--steps", "many", "--set", "training.pace=3"],
      /training\.steps: "many" was given[\s\S]*training\.pace: there is no such key/,
    ],
    [["train", "sea.json", "--set", "steps"], /\[ARGUMENT\]: --set takes key=value/],
    [["train", "missing.json"], /\[CONFIG\]: missing\.json cannot be read/],
    [["train", "sea.txt"], /\[CONFIG\]: sea\.txt is not JSON/],
    [["train", "--resume", "--out", "nowhere"], /\[ARGUMENT\]: There is no run at .*nowhere/],
    [["train", "sea.json", "--engine", "abacus"], /\[ARGUMENT\]: No engine is called 'abacus'/],
    [["train", "--from", "run", "--config", "config.json"], /\[ARGUMENT\]: --from begins with weights.* give one of them/],
    [["train", "--data", "sea.txt", "--from", "nowhere"], /\[CONFIG\]: .*nowhere is not a saved model/],
    [["train", "--data", "sea.txt", "--config", "nowhere.json"], /\[CONFIG\]: nowhere\.json cannot be read/],
    [["sample", "nowhere", "the"], /\[CONFIG\]: nowhere is not a saved model/],
    [["sample", "nowhere"], /\[ARGUMENT\]: Give a text to continue/],
    [["sample", "nowhere", "the", "--top-k", "five"], /\[ARGUMENT\]: --top-k takes a number, but "five" was given/],
  ])("says what is wrong: tsumiki %j", async (parameters, message) => {
    await writeFile(join(folder, "empty.txt"), "");
    const { code, stderr } = await tsumiki(...parameters);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(code).toBe(1);
    expect(await readdir(folder)).not.toContain("runs");
  });

  it("refuses a truncated and a foreign checkpoint, naming the tensor", async () => {
    await tsumiki("train", "sea.json", "--steps", "2", "--out", "run");
    const weights = join(folder, "run/model.safetensors");
    await truncate(weights, (await readFile(weights)).length - 10);
    expect(await tsumiki("sample", "run", "the")).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /\[CHECKPOINT\]: .*model\.safetensors cannot be read as safetensors: tensor "model\.\S+" ends at byte/,
      ),
    });
    await writeFile(weights, "PK\u0003\u0004 this is a PyTorch zip archive");
    expect(await tsumiki("sample", "run", "the")).toMatchObject({ code: 1, stderr: expect.stringMatching(/another format/) });
  });
});
