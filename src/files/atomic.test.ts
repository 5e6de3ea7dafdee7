import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeFileAtomically } from "./atomic.node.js";

describe("writeFileAtomically", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tsumiki-atomic-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("writes strings, bytes and streams, over an existing file too, and leaves nothing else behind", async () => {
    const path = join(folder, "file");
    await writeFileAtomically(path, "naïve");
    expect(await readFile(path, "utf8")).toBe("naïve");
    await writeFileAtomically(path, Uint8Array.of(0, 255, 10));
    expect([...(await readFile(path))]).toEqual([0, 255, 10]);
    await writeFileAtomically(path, async (file) => {
      await file.write("one ");
      await file.write("two");
    });
    expect(await readFile(path, "utf8")).toBe("one two");
    expect(await readdir(folder)).toEqual(["file"]);
  });

  it("keeps the previous file while the new one is being written", async () => {
    const path = join(folder, "file");
    await writeFile(path, "old");
    await writeFileAtomically(path, async (file) => {
      await file.write("half of the");
      await file.sync();
      expect(await readFile(path, "utf8")).toBe("old");
    });
    expect(await readFile(path, "utf8")).toBe("half of the");
  });

  it("keeps the previous file and removes the temporary one when writing fails", async () => {
    const path = join(folder, "file");
    await writeFile(path, "old");
    const failure = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    const writing = writeFileAtomically(path, async (file) => {
      await file.write("half");
      throw failure;
    });
    await expect(writing).rejects.toBe(failure);
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["file"]);
  });

  it("removes the temporary file when the name cannot be taken", async () => {
    await expect(writeFileAtomically(folder, "a folder stands here")).rejects.toMatchObject({ syscall: "rename" });
    expect(await readdir(join(folder, ".."))).not.toContainEqual(expect.stringContaining(`.${folder.split("/").at(-1)}.`));
  });

  it("fails with Node's own code when the folder does not exist", async () => {
    await expect(writeFileAtomically(join(folder, "absent", "file"), "x")).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("lets concurrent writers finish with one whole file", async () => {
    const path = join(folder, "file");
    const contents = Array.from({ length: 8 }, (_, i) => String(i).repeat(100_000));
    await Promise.all(contents.map((content) => writeFileAtomically(path, content)));
    expect(contents).toContain(await readFile(path, "utf8"));
    expect(await readdir(folder)).toEqual(["file"]);
  });
});
