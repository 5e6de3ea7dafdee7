import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { closedPipeExitCode } from "./closed-pipe.js";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

it("ends quietly when nobody reads what it writes, as with | head", async () => {
  const loader = ["--import", new URL("../../scripts/typescript-loader.mjs", import.meta.url).href, "-C", "tsumiki-source"];
  const program = spawn(process.execPath, [...loader, path("./main.ts"), "data", "list"], { stdio: ["ignore", "pipe", "pipe"] });
  program.stdout.destroy();
  let errors = "";
  program.stderr.on("data", (text) => {
    errors += text;
  });
  const [code] = await once(program, "close");
  expect([errors, code]).toEqual(["", closedPipeExitCode]);
});
