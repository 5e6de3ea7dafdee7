import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as z from "zod";
import { readSafetensors, writeSafetensors } from "../checkpoint/safetensors.node.js";
import { type CheckpointFiles, RunDirectory } from "./directory.node.js";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-run-"));
  path = join(folder, "runs", "whale");
});
afterEach(() => rm(folder, { recursive: true }));

const recipe = { data: "moby-dick", steps: 100 };
const config = { modelType: "gpt2", nLayer: 2 };
const create = (options: { overwrite?: boolean } = {}) => RunDirectory.create(path, { recipe, config, ...options });

/** Writes a model and an optimizer of one number each. */
const writing =
  (value: number) =>
  async ({ modelPath, optimizerPath }: CheckpointFiles): Promise<void> => {
    const tensor = (name: string) => ({ name, dtype: "float32" as const, shape: [1], data: () => Float32Array.of(value) });
    await writeSafetensors(modelPath, [tensor("weight")]);
    await writeSafetensors(optimizerPath, [tensor("weight.mean")]);
  };
async function savedValue(modelPath: string | undefined): Promise<number | undefined> {
  await using file = await readSafetensors(modelPath ?? "");
  return (await file.read("weight")).data[0] as number;
}
const checkpointEntries = async () => (await readdir(join(path, "checkpoints"))).sort();
const steps = async (run: RunDirectory) => (await run.checkpoints()).map(({ step }) => step);
const fails = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });

describe("creating and opening", () => {
  it("writes what was asked for and reads it back through a schema", async () => {
    await create();
    const run = await RunDirectory.open(path);
    expect(run.path).toBe(path);
    expect(await run.readRecipe(z.object({ data: z.string(), steps: z.int() }))).toEqual(recipe);
    expect(await run.readConfig(z.object({ modelType: z.literal("gpt2"), nLayer: z.int() }))).toEqual(config);
    expect((await readdir(path)).sort()).toEqual(["config.json", "recipe.json", "run.json"]);
    expect([await run.metrics(), await run.latestCheckpoint(), await run.bestCheckpoint()]).toEqual([[], undefined, undefined]);
  });

  it("keeps tokenizer, samples and loss curve where the directory has a place for them", async () => {
    const run = await create();
    await run.writeTokenizer('{"model":{}}');
    await run.writeSample(500, "Call me Ishmael.\n");
    await run.writeLossCurve("<svg/>");
    expect(await readFile(join(path, "tokenizer.json"), "utf8")).toBe('{"model":{}}');
    expect(await readFile(join(path, "samples", "step-000500.txt"), "utf8")).toBe("Call me Ishmael.\n");
    expect(await readFile(join(path, "loss.svg"), "utf8")).toBe("<svg/>");
  });

  it("refuses to begin over a run, saying how far it got, and over a directory of something else", async () => {
    const run = await create();
    await expect(create()).rejects.toThrow(
      fails("ARGUMENT", /whale holds a run already\. Resume it, overwrite it, or choose another/),
    );
    await run.saveCheckpoint(40, writing(1));
    await expect(create()).rejects.toThrow(fails("ARGUMENT", /holds a run already \(saved at step 40\)/));
    const photos = join(folder, "photos");
    await mkdir(photos);
    await writeFile(join(photos, "cat.jpg"), "");
    for (const overwrite of [false, true])
      await expect(RunDirectory.create(photos, { recipe, config, overwrite })).rejects.toThrow(
        fails("ARGUMENT", /photos is not a run and not empty: it holds cat\.jpg/),
      );
    await expect(RunDirectory.create(join(photos, "cat.jpg"), { recipe, config })).rejects.toThrow(
      fails("ARGUMENT", /cannot be made/),
    );
    expect(await readdir(photos)).toEqual(["cat.jpg"]);
  });

  it("overwrites a run whole and leaves the files of others", async () => {
    const run = await create();
    await run.saveCheckpoint(40, writing(1));
    await run.appendMetrics({ step: 40, loss: 1 });
    await run.writeSample(40, "x");
    await writeFile(join(path, "notes.md"), "mine");
    await RunDirectory.create(path, { recipe: { steps: 7 }, config, overwrite: true });
    expect((await readdir(path)).sort()).toEqual(["config.json", "notes.md", "recipe.json", "run.json"]);
    expect(await (await RunDirectory.open(path)).readRecipe(z.object({ steps: z.int() }))).toEqual({ steps: 7 });
  });

  it("begins in an empty directory, and where an earlier beginning was interrupted", async () => {
    await mkdir(path, { recursive: true });
    await writeFile(join(path, "run.json"), JSON.stringify({ kind: "tsumiki-run", version: 1 }));
    await writeFile(join(path, "config.json"), "{}");
    await writeFile(join(path, ".recipe.json.123-0a1b2c3d.tmp"), "{");
    await create();
    expect((await readdir(path)).sort()).toEqual(["config.json", "recipe.json", "run.json"]);
  });

  it("overwrites nothing that is not a run: a recipe, a config and samples of the user's own stay", async () => {
    await mkdir(join(path, "samples"), { recursive: true });
    for (const name of ["recipe.json", "config.json", "samples/mine.wav"]) await writeFile(join(path, name), "{}");
    for (const overwrite of [true, false])
      await expect(create({ overwrite })).rejects.toThrow(fails("ARGUMENT", /is not a run and not empty: it holds config.json/));
    expect((await readdir(path)).sort()).toEqual(["config.json", "recipe.json", "samples"]);
  });

  it("leaves the user's own samples in a run that it overwrites", async () => {
    const run = await create();
    await run.writeSample(5, "said");
    await writeFile(join(path, "samples", "mine.wav"), "");
    await create({ overwrite: true });
    expect(await readdir(join(path, "samples"))).toEqual(["mine.wav"]);
  });

  it("knows a run of before by its engines, and refuses one of a newer release", async () => {
    const run = await create();
    await run.recordEngine({ fromStep: 0, engine: "reference", device: "cpu", version: "1", threads: 1, precision: "fp32" });
    await rm(run.files.marker);
    await expect(create()).rejects.toThrow(/holds a run already/);
    await create({ overwrite: true });
    await writeFile(run.files.marker, JSON.stringify({ kind: "tsumiki-run", version: 99 }));
    await expect(create({ overwrite: true })).rejects.toThrow(fails("CONFIG", /is a run of version 99, made by a newer release/));
  });

  it("refuses to open what is absent, not a run, or damaged", async () => {
    await expect(RunDirectory.open(path)).rejects.toThrow(fails("ARGUMENT", /There is no run at .*whale/));
    await expect(RunDirectory.open(folder)).rejects.toThrow(
      fails("ARGUMENT", /is not a run: it has no recipe\.json\. It holds nothing/),
    );
    await create();
    await writeFile(join(path, "config.json"), '{"nLayer": ');
    await expect(RunDirectory.open(path)).rejects.toThrow(fails("CONFIG", /config\.json is not JSON/));
    await writeFile(join(path, "config.json"), "[]");
    await expect(RunDirectory.open(path)).rejects.toThrow(fails("CONFIG", /config\.json does not have the expected content/));
    await rm(join(path, "config.json"));
    await expect(RunDirectory.open(path)).rejects.toThrow(fails("CONFIG", /config\.json cannot be read/));
  });

  it("names the fields of a recipe that do not fit", async () => {
    const run = await create();
    await expect(run.readRecipe(z.object({ steps: z.string() }))).rejects.toThrow(
      fails("CONFIG", /recipe\.json .*\n.*expected string.*\n.*steps/),
    );
  });
});

describe("metrics", () => {
  it("come back in the order in which they were given, awaited or not", async () => {
    const run = await create();
    const rows = Array.from({ length: 50 }, (_, i) => ({
      step: i + 1,
      loss: 5 / (i + 1),
      tokensPerSecond: 1000,
      router: "balanced",
    }));
    await Promise.all(rows.map((row) => run.appendMetrics(row)));
    expect(await run.metrics()).toEqual(rows);
    expect((await readFile(run.files.metrics, "utf8")).split("\n")).toHaveLength(51);
  });

  it("keep a loss that is not finite as null, and refuse what is no row", async () => {
    const run = await create();
    await run.appendMetrics({ step: 1, loss: Number.NaN });
    expect(await run.metrics()).toEqual([{ step: 1, loss: null }]);
    await expect(run.appendMetrics({ loss: 1 } as never)).rejects.toThrow(fails("ARGUMENT", /not a row of metrics/));
    await expect(run.appendMetrics({ step: 2, loss: "1" } as never)).rejects.toThrow(fails("ARGUMENT", /not a row of metrics/));
    await run.appendMetrics({ step: 2, loss: 2 });
    expect(await run.metrics()).toHaveLength(2);
  });

  it("pass over a line that a killed process left unfinished, and refuse damage elsewhere", async () => {
    const run = await create();
    await run.appendMetrics({ step: 1, loss: 3 });
    await appendFile(run.files.metrics, '{"step":2,"lo');
    expect(await run.metrics()).toEqual([{ step: 1, loss: 3 }]);
    await appendFile(run.files.metrics, '\n{"step":3}\n');
    await expect(run.metrics()).rejects.toThrow(
      fails("CHECKPOINT", /Line 2 of .*metrics\.jsonl is not a row of metrics: \{"step":2,"lo/),
    );
  });
});

describe("a disk that takes no more", () => {
  it.skipIf(process.platform === "win32")("leaves whole rows and whole checkpoints", async () => {
    const run = await create();
    await run.saveCheckpoint(100, writing(1));
    const script = join(folder, "fill.mts");
    await writeFile(
      script,
      `import { appendFile } from "node:fs/promises";
      import { RunDirectory } from ${JSON.stringify(new URL("./directory.node.ts", import.meta.url).href)};
      const run = await RunDirectory.open(${JSON.stringify(path)});
      const failures = [];
      for (let step = 1; failures.length < 2; step++)
        await run.appendMetrics({ step, loss: 1 / step }).catch((error) => failures.push(error.code));
      const write = ({ modelPath }) => appendFile(modelPath, "x".repeat(100_000));
      await run.saveCheckpoint(200, write).catch((error) => failures.push(error.code));
      console.log(failures.join(" "));`,
    );
    // A limit of 16 blocks of 512 or 1,024 bytes: the kernel refuses to write on in the middle of a row, as a full disk would.
    const child = spawn("sh", ["-c", 'ulimit -f 16 && exec "$0" --import tsx "$1"', process.execPath, script]);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    expect([await once(child, "close"), output]).toEqual([[0, null], "EFBIG EFBIG CHECKPOINT\n"]);
    expect((await run.metrics()).length).toBeGreaterThan(50);
    expect(await readFile(run.files.metrics, "utf8")).toMatch(/\}\n$/);
    expect(await checkpointEntries()).toEqual(["step-000100"]);
  });
});

describe("checkpoints", () => {
  it("hold the tensors, the state and the validation loss", async () => {
    const run = await create();
    const training = { position: 4096, schedule: { step: 500 } };
    const saved = await run.saveCheckpoint(500, writing(7), { validationLoss: 2.5, training });
    expect(saved).toEqual({
      step: 500,
      directory: join(path, "checkpoints", "step-000500"),
      modelPath: join(path, "checkpoints", "step-000500", "model.safetensors"),
      optimizerPath: join(path, "checkpoints", "step-000500", "optimizer.safetensors"),
      adapterPath: join(path, "checkpoints", "step-000500", "adapter.safetensors"),
      validationLoss: 2.5,
      training,
    });
    expect((await readdir(saved.directory)).sort()).toEqual(["model.safetensors", "optimizer.safetensors", "state.json"]);
    expect(await (await RunDirectory.open(path)).latestCheckpoint()).toEqual(saved);
    expect(await savedValue(saved.modelPath)).toBe(7);
    expect(await readFile(run.files.latest, "utf8")).toBe("step-000500\n");
  });

  it("stay as long as they are among the newest or the best", async () => {
    const run = await create();
    const losses = [3, 2, 2.5, Number.NaN, 2.7];
    for (const [i, validationLoss] of losses.entries()) await run.saveCheckpoint((i + 1) * 100, writing(i), { validationLoss });
    expect(await steps(run)).toEqual([200, 400, 500]);
    expect((await run.bestCheckpoint())?.step).toBe(200);
    expect((await run.latestCheckpoint())?.step).toBe(500);
    await run.saveCheckpoint(1_000_000, writing(9), { keep: 1 });
    expect(await checkpointEntries()).toEqual(["step-000200", "step-1000000"]);
    await expect(run.saveCheckpoint(1_000_001, writing(1), { keep: 0 })).rejects.toThrow(fails("ARGUMENT", /keeps at least 1/));
    await expect(run.saveCheckpoint(1.5, writing(1))).rejects.toThrow(fails("ARGUMENT", /whole number, not 1\.5/));
  });

  it("leave nothing when their writer fails, and the earlier ones as they were", async () => {
    const run = await create();
    await run.saveCheckpoint(100, writing(1));
    const failure = new Error("the device was lost");
    const failing = run.saveCheckpoint(200, async (files) => {
      await writing(2)(files);
      throw failure;
    });
    await expect(failing).rejects.toBe(failure);
    await expect(run.saveCheckpoint(200, async () => {})).rejects.toThrow(fails("CHECKPOINT", /without its model\.safetensors/));
    expect(await checkpointEntries()).toEqual(["step-000100"]);
    expect(await savedValue((await run.latestCheckpoint())?.modelPath)).toBe(1);
    await run.saveCheckpoint(200, writing(2));
    expect(await steps(run)).toEqual([100, 200]);
  });

  it("name a full disk", async () => {
    const run = await create();
    await run.saveCheckpoint(100, writing(1));
    const full = run.saveCheckpoint(200, async ({ modelPath }) => {
      await writeFile(modelPath, "half");
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" });
    });
    await expect(full).rejects.toThrow(
      fails(
        "CHECKPOINT",
        /step 200 could not be saved in .*: the disk is full; free some space\. The earlier checkpoints are as they were/,
      ),
    );
    expect(await checkpointEntries()).toEqual(["step-000100"]);
  });

  it("replace one of the same step only when the new one is complete", async () => {
    const run = await create();
    await run.saveCheckpoint(100, writing(1));
    await run.saveCheckpoint(100, writing(2));
    expect(await checkpointEntries()).toEqual(["step-000100"]);
    expect(await savedValue((await run.latestCheckpoint())?.modelPath)).toBe(2);
    await expect(run.saveCheckpoint(100, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await savedValue((await run.latestCheckpoint())?.modelPath)).toBe(2);
  });

  it("survive a stop between the two renames of a replacement", async () => {
    const run = await create();
    await run.saveCheckpoint(100, writing(1));
    const checkpoints = join(path, "checkpoints");
    await rename(join(checkpoints, "step-000100"), join(checkpoints, ".replaced-step-000100"));
    expect(await savedValue((await run.latestCheckpoint())?.modelPath)).toBe(1);
    await run.rewind(100);
    expect(await checkpointEntries()).toEqual(["step-000100"]);
    const leftOver = join(checkpoints, ".replaced-step-000100"); // a stop before the replaced one was deleted
    await mkdir(leftOver);
    expect(await savedValue((await run.latestCheckpoint())?.modelPath)).toBe(1);
    await run.rewind(100);
    expect(await checkpointEntries()).toEqual(["step-000100"]);
    await mkdir(leftOver);
    await run.saveCheckpoint(200, writing(2), { keep: 1 }); // it must not come back as the checkpoint of step 100
    expect(await steps(run)).toEqual([200]);
  });

  it("are refused when their state is damaged or of another step", async () => {
    const run = await create();
    const { directory } = await run.saveCheckpoint(100, writing(1));
    await rename(directory, directory.replace("100", "300"));
    await expect(run.latestCheckpoint()).rejects.toThrow(fails("CHECKPOINT", /is of step 100, but its directory says 300/));
    await writeFile(join(directory.replace("100", "300"), "state.json"), '{"step":');
    await expect(run.latestCheckpoint()).rejects.toThrow(fails("CHECKPOINT", /state\.json is not JSON/));
  });

  it("are one at a time, in the order in which they were asked for", async () => {
    const run = await create();
    const events: string[] = [];
    const save = (step: number) =>
      run.saveCheckpoint(step, async (files) => {
        events.push(`${step} begins`);
        await writing(step)(files);
        events.push(`${step} ends`);
      });
    await Promise.all([save(1), save(2), save(3)]);
    expect(events).toEqual(["1 begins", "1 ends", "2 begins", "2 ends", "3 begins", "3 ends"]);
    expect(await steps(run)).toEqual([2, 3]);
  });

  it("survive SIGKILL in the middle of a save; the next start cleans up", async () => {
    const run = await create();
    await run.saveCheckpoint(100, writing(1));
    await run.appendMetrics({ step: 100, loss: 3 });
    const script = join(folder, "save.mts");
    await writeFile(
      script,
      `import { writeFile } from "node:fs/promises";
      import { RunDirectory } from ${JSON.stringify(new URL("./directory.node.ts", import.meta.url).href)};
      const run = await RunDirectory.open(${JSON.stringify(path)});
      await run.appendMetrics({ step: 200, loss: 2 });
      await run.saveCheckpoint(200, async ({ modelPath }) => {
        await writeFile(modelPath, "half of a model");
        console.log("writing");
        await new Promise((resolve) => setTimeout(resolve, 600_000));
      });`,
    );
    const child = spawn(process.execPath, ["--import", "tsx", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    expect(await once(child, "close")).toEqual([null, "SIGKILL"]);

    expect(await checkpointEntries()).toEqual([expect.stringMatching(/^\.saving-step-000200-/), "step-000100"]);
    const reopened = await RunDirectory.open(path);
    const latest = await reopened.latestCheckpoint();
    expect([latest?.step, await savedValue(latest?.modelPath)]).toEqual([100, 1]);
    await reopened.rewind(100);
    expect(await checkpointEntries()).toEqual(["step-000100"]);
    expect(await reopened.metrics()).toEqual([{ step: 100, loss: 3 }]);
  });
});

describe("rewind", () => {
  it("removes what came after the step, and nothing else", async () => {
    const run = await create();
    for (const step of [100, 200, 300]) {
      await run.appendMetrics({ step: step - 50, loss: 1 });
      await run.appendMetrics({ step, loss: 1 });
      await run.writeSample(step, `at ${step}`);
      await run.saveCheckpoint(step, writing(step), { keep: 3 });
    }
    await run.appendMetrics({ step: 350, loss: 1 });
    await appendFile(run.files.metrics, '{"step":36'); // killed while it appended
    await writeFile(join(path, ".metrics.jsonl.99-00ff00ff.tmp"), "");
    await writeFile(join(path, "notes.md"), "mine");
    const before = (await readFile(run.files.metrics, "utf8")).split("\n").slice(0, 4);

    await run.rewind(200);
    expect(await steps(run)).toEqual([100, 200]);
    expect(await readFile(run.files.latest, "utf8")).toBe("step-000200\n");
    expect((await readFile(run.files.metrics, "utf8")).split("\n")).toEqual([...before, ""]);
    expect((await readdir(join(path, "samples"))).sort()).toEqual(["step-000100.txt", "step-000200.txt"]);
    expect((await readdir(path)).sort()).toEqual([
      ...["checkpoints", "config.json", "latest", "metrics.jsonl", "notes.md", "recipe.json", "run.json", "samples"],
    ]);
    await run.appendMetrics({ step: 250, loss: 1 });
    expect((await run.metrics()).map(({ step }) => step)).toEqual([50, 100, 150, 200, 250]);
  });

  it("goes back to the beginning, and works in a run that has nothing yet", async () => {
    const run = await create();
    await run.rewind(0);
    await run.appendMetrics({ step: 1, loss: 1 });
    await run.saveCheckpoint(1, writing(1));
    await run.rewind(0);
    expect([await run.metrics(), await run.checkpoints()]).toEqual([[], []]);
    expect(await readdir(path)).not.toContain("latest");
    await expect(run.rewind(Number.NaN)).rejects.toThrow(fails("ARGUMENT", /whole number of steps, not to NaN/));
  });

  it("finishes a last row that lacks only its line break", async () => {
    const run = await create();
    await writeFile(run.files.metrics, '{"step":1,"loss":2}');
    await run.rewind(1);
    await run.appendMetrics({ step: 2, loss: 1 });
    expect(await run.metrics()).toEqual([
      { step: 1, loss: 2 },
      { step: 2, loss: 1 },
    ]);
  });
});
