import { describe, expect, it } from "vitest";
import { type StartRow, startTable } from "./start.js";

const row = (engine: string, seed: number, seconds: number, validationLoss: number): StartRow => ({
  ...{ by: `tsumiki/${engine}`, precision: engine === "openvino" ? "bf16" : "fp32", seed, seconds, validationLoss },
  bitsPerByte: validationLoss / 2,
});

describe("the table of bench start", () => {
  const rows = [row("onnxruntime", 0, 200, 4.8), row("openvino", 0, 100, 4.81), row("openvino", 1, 100, 4.79)];

  it("has a line a run, and compares runs of the same seed alone", () => {
    const table = startTable([...rows, row("onnxruntime", 1, 120, 4.8)]);
    expect(table).toContain("| 0 | tsumiki/openvino | bf16 | 100 s | 4.8100 | 2.405 |");
    expect(table).toContain("OpenVINO is 1.60 × as fast; its loss differs by +0.0100, −0.0100, ");
    expect(startTable(rows)).toContain("OpenVINO is 2.00 × as fast; its loss differs by +0.0100, +0.0100 in the mean.");
  });

  it("compares nothing where one engine has not run", () => {
    expect(startTable(rows.slice(1))).not.toContain("as fast");
  });
});
