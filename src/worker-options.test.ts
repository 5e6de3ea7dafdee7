import { describe, expect, it } from "vitest";
import { workerOptions } from "./worker-options.node.js";

describe("workerOptions", () => {
  it("leaves a worker the options of its process", () => {
    expect(workerOptions(["--max-old-space-size=512", "--import", "./loader.mjs"])).toEqual({});
  });

  it("names those of modules where the program was given as text", () => {
    const options = ["--input-type", "module", "--max-old-space-size=512", "--import", "./a.mjs", "-C", "b", "--import=./c.mjs"];
    expect(workerOptions([...options, "--stack-trace-limit=5", "--enable-source-maps", "-e", "code"])).toEqual({
      execArgv: ["--import", "./a.mjs", "-C", "b", "--import=./c.mjs", "--enable-source-maps"],
    });
  });
});
