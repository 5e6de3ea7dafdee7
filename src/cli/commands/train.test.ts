import { join } from "node:path";
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

it("names a run after its recipe or data, without what a glob is made of", () => {
  expect(train.defaultDirectory("a/tiny.json", ["poems.txt"])).toBe(join("runs", "tiny"));
  expect(train.defaultDirectory(undefined, ["data/*.jsonl"])).toBe(join("runs", "run"));
  expect(train.defaultDirectory(undefined, ["data/part-[0-9]*.jsonl"])).toBe(join("runs", "part-0-9"));
  expect(train.defaultDirectory(undefined, ["诗.txt"])).toBe(join("runs", "诗"));
});
