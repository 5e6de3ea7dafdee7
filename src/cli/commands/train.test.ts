import { expect, it, vi } from "vitest";
import { runProgram } from "../program.js";
import * as train from "./train.js";

it("refuses to go on learning from a text that nobody named", async () => {
  const printed: string[] = [];
  vi.spyOn(console, "error").mockImplementation((text) => void printed.push(String(text)));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => printed.push(String(text)) > 0);
  expect(await runProgram(["train", "--from", "somewhere"], [train])).toBe(1);
  expect(printed.join()).toMatch(/ARGUMENT.*--from says which model learns, and --data from what/);
});
