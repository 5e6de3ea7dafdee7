import { type FileHandle, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { modelConfig } from "../models/model-config.node.js";
import { type DownloadOptions, type DownloadProgress, downloadModel, parseModelName } from "./index.js";
import { locateModel } from "./locate.node.js";
import { type HubServer, hubServer } from "./testing/hub-server.js";

const weights = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251);
const text = (value: string) => new TextEncoder().encode(value);

let folder: string;
let hub: HubServer;
let options: DownloadOptions;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-hub-"));
  hub = await hubServer("whales/moby");
  hub.files.set("config.json", text('{"model_type": "gpt2"}'));
  hub.files.set("tokenizer.json", text("{}"));
  hub.files.set("model.safetensors", weights);
  hub.files.set("pytorch_model.bin", text("a pickle"));
  hub.files.set("chat_template.jinja", text("{{ messages }}"));
  hub.files.set("additional_chat_templates/tool_use.jinja", text("{{ tools }}"));
  hub.files.set("onnx/model.onnx", text("another format"));
  hub.files.set("../../.bashrc", text("rm -rf ~"));
  hub.large.add("model.safetensors");
  options = { hubUrl: hub.url, cacheFolder: join(folder, "cache") };
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** An address at which nobody listens any more. */
async function closedAddress(): Promise<string> {
  await using closed = await hubServer("nobody/nothing");
  return closed.url;
}

const bodies = () => hub.requests.filter((request) => request.includes("/resolve/") && !request.endsWith("bytes=0-0"));
const network = (message: RegExp) => expect.objectContaining({ code: "NETWORK", message: expect.stringMatching(message) });

describe("downloading", () => {
  it("brings what belongs to a model, and nothing else, into the cache that Python shares", async () => {
    const directory = await downloadModel("whales/moby", options);
    expect(directory).toBe(join(folder, "cache", "models--whales--moby", "snapshots", hub.commit));
    const names = ["additional_chat_templates", "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"];
    expect((await readdir(directory)).sort()).toEqual(names);
    expect(await readFile(join(directory, "additional_chat_templates/tool_use.jinja"), "utf8")).toBe("{{ tools }}");
    expect(new Uint8Array(await readFile(join(directory, "model.safetensors")))).toEqual(weights);
    expect(await readFile(join(folder, "cache/models--whales--moby/refs/main"), "utf8")).toBe(hub.commit);
    expect(
      (await readdir(join(folder, "cache/models--whales--moby/blobs"))).every((name) => /^[0-9a-f]{40,64}$/.test(name)),
    ).toBe(true);
  });

  it("reports how much has come of how much", async () => {
    const seen: DownloadProgress[] = [];
    await downloadModel("whales/moby", { ...options, onProgress: (progress) => seen.push(progress) });
    const totalBytes = [...hub.files].reduce(
      (sum, [name, { length }]) => sum + (/^(config|tokenizer|model|chat|additional)/.test(name) ? length : 0),
      0,
    );
    expect(seen.every((progress) => progress.totalBytes === totalBytes)).toBe(true);
    expect(seen.map(({ receivedBytes }) => receivedBytes)).toEqual(
      seen.map(({ receivedBytes }) => receivedBytes).toSorted((a, b) => a - b),
    );
    expect(seen.at(-1)?.receivedBytes).toBe(totalBytes);
  });

  it("takes nothing twice, and only what is new of another commit", async () => {
    await downloadModel("whales/moby", options);
    hub.requests.length = 0;
    await downloadModel("whales/moby", options);
    expect(bodies()).toEqual([]);
    hub.commit = "f".repeat(40);
    hub.files.set("tokenizer.json", text('{"version": "2"}'));
    const directory = await downloadModel("whales/moby", options);
    expect(basename(directory)).toBe(hub.commit);
    expect(bodies().map((request) => request.replace(/ bytes.*/, ""))).toEqual([
      `GET /whales/moby/resolve/${hub.commit}/tokenizer.json`,
    ]);
  });

  it("goes on where the connection broke, within one call and in the next one", async () => {
    hub.breaks.push(50_000, 30_000);
    const directory = await downloadModel("whales/moby", options);
    expect(new Uint8Array(await readFile(join(directory, "model.safetensors")))).toEqual(weights);
    const starts = bodies()
      .flatMap((request) => /model\.safetensors bytes=(\d+)-/.exec(request)?.[1] ?? [])
      .map(Number);
    expect(starts.length).toBeGreaterThan(1);
    expect(starts.every((start, i) => start > (starts[i - 1] ?? 0))).toBe(true);

    await rm(options.cacheFolder as string, { recursive: true });
    hub.breaks.push(60_000, 0, 0, 0);
    await expect(downloadModel("whales/moby", options)).rejects.toThrow(network(/model\.safetensors.*goes on from there/));
    hub.requests.length = 0;
    hub.breaks.length = 0;
    await downloadModel("whales/moby", options);
    expect(bodies().some((request) => /model\.safetensors bytes=[1-9]\d*-/.test(request))).toBe(true);
  });

  it("refuses a file that was changed on its way, and keeps nothing of it", async () => {
    for (const path of ["tokenizer.json", "model.safetensors"]) {
      hub.tampered.add(path);
      await expect(downloadModel("whales/moby", options)).rejects.toThrow(network(/is not what the hub says it is/));
      hub.tampered.delete(path);
    }
    const directory = await downloadModel("whales/moby", options);
    expect(new Uint8Array(await readFile(join(directory, "model.safetensors")))).toEqual(weights);
  });

  it("says when the disk takes no more, and goes on when it does again", async () => {
    const file = await open(join(folder, "any"), "w");
    const writes = vi.spyOn(Object.getPrototypeOf(file) as FileHandle, "write");
    await file.close();
    writes.mockRejectedValue(Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" }));
    await expect(downloadModel("whales/moby", options)).rejects.toThrow(network(/could not be written to .*ENOSPC.*make room/));
    expect(bodies().length).toBe(1); // it is of no use to try again
    writes.mockRestore();
    const directory = await downloadModel("whales/moby", options);
    expect(new Uint8Array(await readFile(join(directory, "model.safetensors")))).toEqual(weights);
  });

  it("lets two that want the same download it at the same time", async () => {
    hub.breaks.push(90_000, 50_000, 20_000);
    const directories = await Promise.all([downloadModel("whales/moby", options), downloadModel("whales/moby", options)]);
    expect(directories[0]).toBe(directories[1]);
    expect(new Uint8Array(await readFile(join(directories[0], "model.safetensors")))).toEqual(weights);
    const blobs = await readdir(join(folder, "cache/models--whales--moby/blobs"));
    expect(blobs.filter((name) => name.endsWith(".incomplete"))).toEqual([]);
  });

  it("finds the token where Python's hub keeps it", async () => {
    hub.token = "hf_kept";
    const token = join(folder, "my-token");
    await writeFile(token, "hf_kept\n");
    for (const [name, value] of [
      ["HF_TOKEN_PATH", token],
      ["HUGGING_FACE_HUB_TOKEN", "hf_kept"],
    ] as const) {
      for (const other of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"]) vi.stubEnv(other, "");
      vi.stubEnv(name, value);
      expect(await downloadModel("whales/moby", options)).toMatch(/snapshots/);
      await rm(join(folder, "cache"), { recursive: true });
    }
  });

  it("keeps a model's commit when only the configuration of a newer one is asked for", async () => {
    const directory = await downloadModel("whales/moby", options);
    const ref = join(folder, "cache/models--whales--moby/refs/main");
    const before = await readFile(ref, "utf8");
    hub.commit = before.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
    expect(await downloadModel("whales/moby", options, "configuration")).not.toBe(directory);
    expect(await readFile(ref, "utf8")).toBe(before);
    expect(await downloadModel("whales/moby", { ...options, offline: true })).toBe(directory);
  });

  it("takes the revision that is asked for, and a token to those who want one", async () => {
    hub.token = "hf_secret";
    await expect(downloadModel("whales/moby", options)).rejects.toThrow(network(/private or gated.*HF_TOKEN/));
    vi.stubEnv("HF_TOKEN", "hf_secret");
    const directory = await downloadModel("whales/moby@v1", options);
    expect(basename(directory)).toBe(hub.commit);
    expect(await readFile(join(folder, "cache/models--whales--moby/refs/v1"), "utf8")).toBe(hub.commit);
    await expect(downloadModel("whales/moby", { ...options, revision: "v9" })).rejects.toThrow(
      network(/Invalid rev id: v9.*Check the name/),
    );
    await expect(downloadModel("whales/pequod", options)).rejects.toThrow(network(/whales\/pequod at main/));
    await expect(downloadModel("whales/moby@v1", { ...options, revision: "v2" })).rejects.toMatchObject({ code: "ARGUMENT" });
  });

  it("stops when it is told to", async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    await expect(downloadModel("whales/moby", { ...options, signal: controller.signal, onProgress })).rejects.toMatchObject({
      code: "ABORTED",
    });
  });

  it("refuses a server that names something else than a commit or a hash", async () => {
    hub.commit = "../../../etc";
    await expect(downloadModel("whales/moby", options)).rejects.toThrow(network(/as the commit of whales\/moby, which is none/));
  });
});

describe("without a connection", () => {
  it("uses what the cache has", async () => {
    const directory = await downloadModel("whales/moby", options);
    hub.requests.length = 0;
    expect(await downloadModel("whales/moby", { ...options, offline: true })).toBe(directory);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect(await downloadModel("whales/moby", options)).toBe(directory);
    expect(hub.requests).toEqual([]);
    vi.unstubAllEnvs();
    expect(await downloadModel("whales/moby", { ...options, hubUrl: await closedAddress() })).toBe(directory);
  });

  it("says what is missing", async () => {
    await expect(downloadModel("whales/moby", { ...options, offline: true })).rejects.toThrow(
      network(/not in the cache.*offline/),
    );
    await expect(downloadModel("whales/moby", { ...options, hubUrl: await closedAddress() })).rejects.toThrow(
      network(/hub cannot be reached.*ECONNREFUSED/),
    );
    await modelConfig("whales/moby", options);
    await expect(downloadModel("whales/moby", { ...options, offline: true })).rejects.toThrow(network(/not in the cache/));
  });
});

describe("where a model is", () => {
  it("is the directory, where there is one of that name", async () => {
    const local = join(folder, "whales/moby");
    await mkdir(local, { recursive: true });
    expect(await locateModel(local, options)).toBe(local);
    expect(await locateModel("./no/such/folder", options)).toBe("./no/such/folder");
    await expect(locateModel("whales/pequod", options)).rejects.toThrow(
      network(/^There is no directory whales\/pequod, so it was looked for/),
    );
  });

  it("is enough to read its configuration, of which nothing else is downloaded", async () => {
    expect(await modelConfig("whales/moby", options)).toEqual({ model_type: "gpt2" });
    expect(bodies().map((request) => request.replace(/ bytes.*/, ""))).toEqual([
      `GET /whales/moby/resolve/${hub.commit}/config.json`,
    ]);
    const path = join(folder, "config.json");
    await writeFile(path, '{"model_type": "llama"}');
    for (const source of [path, folder]) expect(await modelConfig(source)).toEqual({ model_type: "llama" });
    await expect(modelConfig(join(folder, "cache"))).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("org/name"),
    });
  });

  it("is told from a name by its form", () => {
    expect(parseModelName("org/name")).toEqual({ repository: "org/name", revision: "main" });
    expect(parseModelName("org/name@refs/pr/1")).toEqual({ repository: "org/name", revision: "refs/pr/1" });
    for (const path of ["./org/name", "/org/name", "a/b/c", "name", "../name", "org/..", "org\\name"])
      expect(parseModelName(path)).toBeUndefined();
    expect(() => parseModelName("org/name@../../x")).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});
