import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { type HubServer, hubServer } from "../../hub/testing/hub-server.js";
import { Llama, saveModel } from "../../models/index.js";
import { trainTokenizer } from "../../tokenizer/index.js";
import { type CommandModule, runProgram } from "../program.js";
import * as compare from "./compare.js";
import * as inspect from "./inspect.js";
import * as logits from "./logits.js";
import * as sample from "./sample.js";

const files = new Map<string, Uint8Array>();
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-hub-model-"));
  const tokenizer = await trainTokenizer("Call me Ishmael.", { model: "character" });
  const sizes = { hiddenSize: 8, intermediateSize: 12, numHiddenLayers: 1, numAttentionHeads: 2 };
  await saveModel(new Llama({ vocabSize: tokenizer.vocabSize, ...sizes }).initialize(3), folder, { tokenizer });
  for (const name of await readdir(folder)) files.set(name, await readFile(join(folder, name)));
  await rm(folder, { recursive: true });
});

let cache: string;
let hub: HubServer;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "tsumiki-hub-cache-"));
  hub = await hubServer("whales/moby");
  for (const [name, content] of files) hub.files.set(name, content);
  hub.large.add("model.safetensors");
  vi.stubEnv("HF_ENDPOINT", hub.url);
  vi.stubEnv("HF_HUB_CACHE", cache);
  vi.stubEnv("HF_HUB_OFFLINE", "");
  vi.stubEnv("HF_TOKEN", "");
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  process.exitCode = 0;
  await hub[Symbol.asyncDispose]();
  await rm(cache, { recursive: true });
});

interface Printed {
  readonly out: string;
  readonly errors: string;
}

async function run(exitCode: number, ...parameters: readonly string[]): Promise<Printed> {
  const out: string[] = [];
  const errors: string[] = [];
  vi.spyOn(console, "log").mockImplementation((text) => void out.push(`${text}\n`));
  vi.spyOn(console, "error").mockImplementation((text) => void errors.push(`${text}\n`));
  vi.spyOn(process.stdout, "write").mockImplementation((text) => out.push(String(text)) > 0);
  vi.spyOn(process.stderr, "write").mockImplementation((text) => errors.push(String(text)) > 0);
  process.exitCode = 0;
  const code = await runProgram(parameters, [compare, inspect, logits, sample]);
  vi.restoreAllMocks();
  const printed = { out: out.join(""), errors: errors.join("") };
  expect([code, printed]).toEqual([exitCode, expect.anything()]);
  return printed;
}

const asked = () => hub.requests.flatMap((request) => /\/resolve\/[^/]+\/(\S+)/.exec(request)?.[1] ?? []);

it("inspect asks for the configuration alone", async () => {
  const { out } = await run(0, "inspect", "whales/moby", "--json");
  expect(JSON.parse(out)).toMatchObject({ modelType: "llama" });
  expect([...new Set(asked())].sort()).toEqual(["config.json", "generation_config.json"]);
});

it("logits, compare and sample take a model by its name, saying what they download, and once only", async () => {
  const { out, errors } = await run(0, "logits", "whales/moby", "--ids", "1,2", "--json");
  expect(JSON.parse(out).shape).toEqual([2, expect.any(Number)]);
  expect(errors).toMatch(/^downloading config\.json\n.*downloading model\.safetensors\n.*downloading tokenizer_config\.json\n$/s);
  hub.requests.length = 0;
  const values = join(cache, "values.safetensors");
  await run(0, "logits", "whales/moby", "--ids", "1,2", "--save", values);
  expect((await run(0, "compare", "whales/moby", values)).out).toMatch(/^All \d+ values agree/);
  const spoken = await run(0, "sample", "whales/moby", "Call me ", "--max-tokens", "5", "--seed", "1");
  expect(spoken.out).toMatch(/^Call me .{5}\n$/s);
  expect(spoken.errors).toBe("");
  expect(asked()).toEqual([]);
});

it("a revision is part of the name, or an option", async () => {
  await run(0, "inspect", "whales/moby@v1", "--json");
  await run(0, "logits", "whales/moby", "--revision", "v1", "--ids", "1", "--json");
  expect(await readFile(join(cache, "models--whales--moby/refs/v1"), "utf8")).toBe(hub.commit);
  expect((await run(1, "logits", "whales/moby@v1", "--revision", "v2", "--ids", "1")).errors).toMatch(
    /ARGUMENT.*names the revision v1/,
  );
  expect((await run(1, "sample", "whales/moby@v9", "Call")).errors).toMatch(/NETWORK.*Invalid rev id: v9/);
  expect((await run(1, "sample", "whales/moby", "Call", "--revision", "v9")).errors).toMatch(/NETWORK.*Invalid rev id: v9/);
  expect((await run(1, "sample", "whales/moby@v1", "Call", "--revision", "v2")).errors).toMatch(
    /ARGUMENT.*names the revision v1/,
  );
  expect((await run(0, "sample", "whales/moby", "Call me ", "--max-tokens", "2", "--revision", "v1")).out).toMatch(
    /^Call me ..\n$/s,
  );
});

it("every command that takes a model has the option", async () => {
  const files = (await readdir(new URL(".", import.meta.url))).filter((name) => /^[a-z-]+\.ts$/.test(name));
  const program = new Command();
  for (const file of files) ((await import(`./${file}`)) as CommandModule).register(program);
  const takingModels = program.commands.filter(({ registeredArguments: [first] }) => first?.name() === "model");
  expect(takingModels.map((command) => command.name())).toEqual(["compare", "inspect", "logits", "sample"]);
  for (const { options } of takingModels) expect(options.map(({ flags }) => flags)).toContain("--revision <name>");
});

it("what was downloaded is used without a connection, and what was not is missed", async () => {
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  for (const [command, ...more] of [["inspect"], ["logits", "--ids", "1"], ["sample", "Call"]] as const)
    expect((await run(1, command, "whales/moby", ...more)).errors).toMatch(
      /NETWORK.*no directory whales\/moby.*not in the cache/,
    );
  vi.stubEnv("HF_HUB_OFFLINE", "");
  await run(0, "logits", "whales/moby", "--ids", "1");
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  hub.requests.length = 0;
  await run(0, "logits", "whales/moby", "--ids", "1");
  await run(0, "sample", "whales/moby", "Call", "--max-tokens", "1");
  expect(hub.requests).toEqual([]);
});

it("a model that is not there, and one that is not for everybody", async () => {
  expect((await run(1, "inspect", "whales/pequod")).errors).toMatch(/NETWORK.*whales\/pequod at main.*Check the name/);
  hub.token = "hf_secret";
  expect((await run(1, "logits", "whales/moby", "--ids", "1")).errors).toMatch(/NETWORK.*private or gated.*HF_TOKEN/);
  vi.stubEnv("HF_TOKEN", "hf_secret");
  await run(0, "logits", "whales/moby", "--ids", "1");
});

it("a download that breaks off goes on the next time", async () => {
  hub.breaks.push(1000, 0, 0, 0);
  expect((await run(1, "logits", "whales/moby", "--ids", "1")).errors).toMatch(/NETWORK.*model\.safetensors.*goes on from there/);
  hub.requests.length = 0;
  hub.breaks.length = 0;
  await run(0, "logits", "whales/moby", "--ids", "1");
  expect(hub.requests.some((request) => /model\.safetensors bytes=1000-/.test(request))).toBe(true);
});
