import { describe, expect, it } from "vitest";
import { createEngine, detectEngines } from "./registry.js";
import { whyNoOpenVino } from "./testing/openvino.js";

const fastest = (await whyNoOpenVino()) ? "onnxruntime-node" : "openvino";

describe("choosing an engine", () => {
  it.each([
    [{}, fastest, "cpu"],
    [{ engine: "auto", device: "auto" }, fastest, "cpu"],
    [{ device: "cpu" }, fastest, "cpu"],
    [{ engine: "onnxruntime" }, "onnxruntime-node", "cpu"],
    [{ engine: "onnxruntime", device: "wasm" }, "onnxruntime-web", "wasm"],
    [{ engine: "onnxruntime-web" }, "onnxruntime-web", "wasm"],
    [{ device: "wasm" }, "onnxruntime-web", "wasm"],
    [{ engine: "reference" }, "reference", "cpu"],
  ] as const)("%j is %s on %s", async (options, name, device) => {
    const engine = await createEngine(options);
    expect(engine).toMatchObject({ name, device });
    await engine.close();
  });

  it("passes the number of threads on", async () => {
    const engine = await createEngine({ threads: 1 });
    expect(engine.threads).toBe(1);
    await engine.close();
  });

  it("lists the engines when there is none of the name, and the devices when it has none of that", async () => {
    await expect(createEngine({ engine: "tensorium" })).rejects.toMatchObject({
      code: "ARGUMENT",
      message: expect.stringMatching(/tensorium.*onnxruntime-node \(cpu.*reference/),
    });
    await expect(createEngine({ engine: "reference", device: "wasm" })).rejects.toMatchObject({
      code: "ARGUMENT",
      message: "The engine 'reference' has no device 'wasm'. There are: reference (cpu).",
    });
  });
});

describe("looking for engines", () => {
  it("finds those that are always here, and says of the others how to get them", async () => {
    const reports = await detectEngines();
    expect(reports.map(({ engine }) => engine)).toEqual(["openvino", "onnxruntime-node", "onnxruntime-web", "reference"]);
    const devices = new Map(
      reports.flatMap(({ engine, devices }) => devices.map((report) => [`${engine} ${report.device}`, report])),
    );
    for (const name of ["onnxruntime-node cpu", "onnxruntime-web wasm", "reference cpu"])
      expect(devices.get(name)?.present, name).toBe(true);
    for (const { detail } of devices.values()) expect(detail).toMatch(/\w/);
    for (const { engine, version, problem } of reports)
      if (engine === "openvino" && fastest !== "openvino") expect(problem).toMatch(/pip install openvino/);
      else expect(version, engine).toMatch(/\d/);
  });
});
