import { afterEach, expect, it, vi } from "vitest";
import { runProgram } from "../program.js";
import * as doctor from "./doctor.js";

afterEach(() => void vi.restoreAllMocks());

async function run(...parameters: readonly string[]): Promise<string> {
  const printed: string[] = [];
  vi.spyOn(console, "log").mockImplementation((text: string) => void printed.push(text));
  vi.spyOn(console, "error").mockImplementation(() => {});
  expect(await runProgram(["doctor", ...parameters], [doctor])).toBe(0);
  return printed.join("\n");
}

it("examines every engine and device, as JSON", async () => {
  const { machine, engines } = JSON.parse(await run("--json", "--threads", "1"));
  expect(machine).toMatchObject({ node: process.versions.node, platform: process.platform });
  const devices = new Map<string, { present: boolean; threads: number; floats: string[]; gigaflops: number; detail: string }>(
    engines.flatMap(({ engine, devices }: { engine: string; devices: { device: string }[] }) =>
      devices.map((report) => [`${engine} ${report.device}`, report]),
    ),
  );
  for (const name of ["onnxruntime-node cpu", "onnxruntime-web wasm", "reference cpu"]) {
    expect(devices.get(name), name).toMatchObject({ present: true, threads: 1, floats: expect.arrayContaining(["float32"]) });
    expect(devices.get(name)?.gigaflops, name).toBeGreaterThan(0);
  }
  // What a device multiplies in another precision than it was told is not told as its own.
  expect(devices.get("reference cpu")).toMatchObject({
    floats: ["float32", "float64", "float16", "bfloat16"],
    floatsInOther: {},
    wideIntegers: true,
  });
  expect(devices.get("onnxruntime-node cpu")).toMatchObject({
    floats: expect.arrayContaining(["float32", "float64"]),
    wideIntegers: true,
  });
  if (devices.get("openvino cpu"))
    expect(devices.get("openvino cpu")).toMatchObject({
      floatsInOther: expect.objectContaining({ float64: "float32" }),
      wideIntegers: false,
    });
  for (const { present, detail, gigaflops } of devices.values())
    if (!present) expect([detail.length > 20, gigaflops]).toEqual([true, undefined]);
});

it("prints a line for each", async () => {
  const text = await run();
  expect(text).toMatch(/^Node .* cores, \d+ GiB\n\nopenvino(?: \d|\n {2}OpenVINO was not found)/);
  expect(text).toMatch(/\n\nonnxruntime-node \d/);
  expect(text).toMatch(/\n {2}cpu {6}\d\S* GFLOP\/s.* \d threads?; float32, float64[,;] .*float16/);
  expect(text).toMatch(/\n {2}(coreml|directml) +not here\. /);
});
