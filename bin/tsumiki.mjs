#!/usr/bin/env node
// In a clone the command runs from source, with nothing built; in the packed package, which has no src/, from dist/.
import { existsSync } from "node:fs";

if (existsSync(new URL("../src/cli/main.ts", import.meta.url))) {
  const { run } = await import("../scripts/from-source.mjs");
  process.exit(await run("tsumiki", process.argv.slice(2)));
}
await import("../dist/cli/main.js");
