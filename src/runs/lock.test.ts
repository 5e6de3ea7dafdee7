import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lockRun } from "./lock.node.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tsumiki-lock-"));
});
afterEach(() => rm(directory, { recursive: true }));

const dead = 4_194_305; // more than a process id can be

describe("the lock of a run", () => {
  it("is held by one at a time, and gone afterwards", async () => {
    const lock = await lockRun(directory);
    await expect(lockRun(directory)).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringMatching(
        new RegExp(`Process ${process.pid} is writing to the run.*Its lock is .*\\.lock-${process.pid}-`),
      ),
    });
    await lock[Symbol.asyncDispose]();
    expect(await readdir(directory)).toEqual([]);
    await (await lockRun(directory))[Symbol.asyncDispose]();
  });

  it("is won by at most one of many that find the lock of a dead process at once", async () => {
    for (let round = 0; round < 10; round++) {
      await writeFile(join(directory, ".lock"), `${dead}\n`);
      const tries = await Promise.allSettled(Array.from({ length: 6 }, () => lockRun(directory)));
      const won = tries.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      expect(won.length).toBeLessThanOrEqual(1);
      for (const lock of won) await lock[Symbol.asyncDispose]();
    }
  });

  it("does not count when its process has died, or its process id belongs to another one now", async () => {
    const sleeper = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)"]);
    await once(sleeper, "spawn");
    const stale = { pid: sleeper.pid, host: hostname(), started: "1" };
    await writeFile(join(directory, ".lock-stale"), JSON.stringify(stale));
    await writeFile(join(directory, ".lock-dead"), JSON.stringify({ pid: dead, host: hostname() }));
    if (process.platform === "linux") await (await lockRun(directory))[Symbol.asyncDispose]();

    const stat = await readFile(`/proc/${sleeper.pid}/stat`, "utf8").catch(() => "");
    const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    await writeFile(join(directory, ".lock-live"), JSON.stringify({ ...stale, started }));
    await expect(lockRun(directory)).rejects.toThrow(/is writing to the run/);
    sleeper.kill();
    await once(sleeper, "close");
    await (await lockRun(directory))[Symbol.asyncDispose]();
    expect(await readdir(directory)).toEqual([]);
  });

  it("counts when it is another machine's", async () => {
    await writeFile(join(directory, ".lock-other"), JSON.stringify({ pid: dead, host: "elsewhere" }));
    await expect(lockRun(directory)).rejects.toThrow(/Process 4194305 on elsewhere is writing.*remove it/);
  });
});
