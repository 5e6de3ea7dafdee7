/** Installations that do not hold what they should: an error each, in a process of its own, which must live on. */

import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { fromSource } from "../../../scripts/from-source.mjs";
import { whyNoOpenVino } from "../testing/openvino.js";
import { findOpenVino } from "./library.node.js";

const folder = mkdtempSync(join(tmpdir(), "tsumiki-openvino-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const registry = fileURLToPath(new URL("../registry.ts", import.meta.url));

/** Makes the engine in a process of its own with TSUMIKI_OPENVINO set; what comes of it, as `code: message`. */
function tryFolder(chosen: string, engine = "openvino", options: readonly string[] = []): Promise<string> {
  const program = `
    const { createEngine } = await import(${JSON.stringify(registry)});
    try {
      const engine = await createEngine({ engine: ${JSON.stringify(engine)} });
      console.log("made " + engine.name);
      await engine.close();
    } catch (error) {
      console.log(error.code + ": " + error.message);
    }
    console.log("lives on");`;
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [...fromSource, ...options, "--input-type=module", "--eval", program],
      { env: { ...process.env, TSUMIKI_OPENVINO: chosen } },
      (error, output, errors) => {
        const [, told] = /^([\s\S]*)\nlives on\n$/.exec(output) ?? [];
        if (error || told === undefined) reject(new Error(`${error?.message}\n${output}\n${errors}`));
        else resolve(told);
      },
    );
  });
}

const libraryNames: Partial<Record<NodeJS.Platform, string>> = { darwin: "libopenvino_c.dylib", win32: "openvino_c.dll" };
const libraryName = libraryNames[process.platform] ?? "libopenvino_c.so";

function makeFolder(name: string, library?: Uint8Array | string): string {
  const path = join(folder, name);
  mkdirSync(path);
  if (library !== undefined) writeFileSync(join(path, libraryName), library);
  return path;
}

/** The header of a shared library for a processor that nobody has (e_machine 0xdead), padded. */
const foreignLibrary = Buffer.concat([
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0xad, 0xde, 1, 0, 0, 0]),
  Buffer.alloc(4096),
]);

describe("a chosen folder", () => {
  it.each([
    ["that is not there", () => join(folder, "nowhere"), /TSUMIKI_OPENVINO is .*nowhere, but OpenVINO's C library is not there/],
    ["without the library", () => makeFolder("empty"), /C library is not there.*openvino\/libs/],
    ["whose library is no library", () => makeFolder("text", "not a library\n"), /could not be loaded on \w+ \w+: /],
    ["whose library is empty", () => makeFolder("hollow", ""), /could not be loaded on \w+ \w+: /],
    ["with the library of another machine", () => makeFolder("foreign", foreignLibrary), /could not be loaded on \w+ \w+: /],
  ])("%s is an error", async (_, make, message) => {
    const told = await tryFolder(make());
    expect(told).toMatch(/^ENGINE: /);
    expect(told).toMatch(message);
  });

  it("that holds none is no reason to take another engine unasked", async () => {
    expect(await tryFolder(makeFolder("without"), "auto")).toMatch(/^ENGINE: TSUMIKI_OPENVINO is /);
  });

  it("is not looked at when another engine is asked for", async () => {
    expect(await tryFolder(join(folder, "nowhere"), "onnxruntime")).toBe("made onnxruntime-node");
  });
});

describe("without koffi", () => {
  const hooks = `export function resolve(name, context, next) {
    if (name === "koffi") throw new Error("Cannot find package 'koffi'");
    return next(name, context);
  }`;
  const inline = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`;
  const program = `import { register } from "node:module"; register(${JSON.stringify(inline(hooks))});`;
  const withoutKoffi = ["--import", inline(program)];

  it("OpenVINO is absent, and the error says how to get it", async () => {
    const told = await tryFolder("", "openvino", withoutKoffi);
    expect(told).toMatch(/^ENGINE_ABSENT: .*koffi.*npm install koffi/s);
  });

  it("other engines are there all the same", async () => {
    expect(await tryFolder("", "auto", withoutKoffi)).toBe("made onnxruntime-node");
  });
});

const absent = await whyNoOpenVino();

describe.skipIf(absent)(absent ?? "parts of an installation", () => {
  const needed = /openvino(_c)?\.|cpu_plugin|onnx_frontend|tbb|hwloc/;

  /** A folder with what an engine needs, but for the files that match. */
  async function installationWithout(name: string, missing: RegExp): Promise<string> {
    const path = makeFolder(name);
    const installed = dirname((await findOpenVino()).path);
    for (const file of readdirSync(installed))
      if (needed.test(file) && !missing.test(file)) copyFileSync(join(installed, file), join(path, file));
    return path;
  }

  it("that has all it needs is taken", async () => {
    expect(await tryFolder(await installationWithout("whole", /^$/))).toBe("made openvino");
  });

  it.each([
    ["the CPU plugin", /cpu_plugin/, /has no CPU plugin beside it that works/],
    ["the ONNX frontend", /onnx_frontend/, /has no ONNX frontend beside it that works/],
    ["the library behind the C library", /^(lib)?openvino(\.\d+)*\.(so|dylib|dll)/, /could not be loaded/],
  ])("that lacks %s is an error", async (_, missing, message) => {
    const told = await tryFolder(await installationWithout(`without ${missing.source.replace(/\W/g, "")}`, missing));
    expect(told).toMatch(/^ENGINE: /);
    expect(told).toMatch(message);
  });
  it.runIf(process.platform === "linux")(
    "that is of another major version is an error that names the one that is needed",
    async () => {
      const path = await installationWithout("of another year", /^$/);
      const name = readdirSync(path).find((file) => /^libopenvino\.so/.test(file)) as string;
      const library = readFileSync(join(path, name));
      // Its build number: `2026.4.1-22982-...`
      const text = library.toString("latin1");
      const [build] = /\b2026\.\d+\.\d+-\d+-/.exec(text) ?? [];
      writeFileSync(
        join(path, name),
        Buffer.from(text.replaceAll(build as string, (build as string).replace("2026", "2027")), "latin1"),
      );
      expect(await tryFolder(path)).toMatch(
        /^ENGINE: OpenVINO at .* is version 2027\.\S+, but 2026 is needed: `pip install "openvino==2026\.\*"`/,
      );
    },
  );
});
