/**
 * What `npm start`, `npm test`, `npm run bench` and a clone's `npx tsumiki` go through: plain Node that installs what is
 * missing, exactly as the lock file says, and then runs TypeScript from source. Everything it says goes to standard error.
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, lstatSync, statSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
/** @param {string} name */
const path = (name) => fileURLToPath(new URL(name, root));

/** Node's options for running `src/` as it stands: TypeScript is understood, the package's own imports and exports lead to `src/`. */
export const fromSource = [
  "--import",
  new URL("scripts/typescript-loader.mjs", root).href,
  "--conditions",
  "tsumiki-source",
  "--enable-source-maps",
];

/** @type {Record<string, string[]>} */
const tasks = {
  start: [...fromSource, path("src/cli/main.ts"), "start"],
  test: [path("node_modules/vitest/vitest.mjs"), "run"],
  bench: [...fromSource, path("bench/run.ts")],
  tsumiki: [...fromSource, path("src/cli/main.ts")],
};

/** Runs `npm ci` when there is no `node_modules`, or when the lock file is newer than what npm last installed there. */
function installWhatIsMissing() {
  if (lstatSync(path("node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) return; // npm ci would empty what it leads to
  const installed = path("node_modules/.package-lock.json"); // npm writes it at the end of each installation
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(path("package-lock.json")).mtimeMs) return;
  console.error(
    existsSync(installed) ? "The lock file has changed: installing." : "First run: installing what package-lock.json lists.",
  );
  // onnxruntime-node's install script would fetch CUDA libraries, which nothing here needs.
  const parameters = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  const npm = process.env.npm_execpath; // set when npm started us; a path to npm's own script
  /** @type {import("node:child_process").SpawnSyncOptions} */
  const options = { cwd: fileURLToPath(root), stdio: ["ignore", 2, 2] };
  const { status, error } = npm?.endsWith("js")
    ? spawnSync(process.execPath, [npm, ...parameters], options)
    : spawnSync("npm", parameters, { ...options, shell: process.platform === "win32" });
  if (status === 0) return;
  console.error(`npm ${parameters.join(" ")} failed${error ? ` (${error.message})` : ""}. Is the npm registry reachable?`);
  process.exit(1);
}

/**
 * Runs one of the tasks with further arguments and resolves to its exit code.
 * @param {string} task
 * @param {readonly string[]} parameters
 * @returns {Promise<number>}
 */
export async function run(task, parameters) {
  const node = tasks[task];
  if (!node) {
    console.error(`Unknown task ${task}; there are ${Object.keys(tasks).join(", ")}.`);
    return 1;
  }
  installWhatIsMissing();
  const child = spawn(process.execPath, [...node, ...parameters], { stdio: "inherit" });
  // The child decides how to end. On Ctrl-C a terminal has sent it the signal too; it takes the two for one.
  process.on("SIGINT", () => child.kill("SIGINT"));
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  return new Promise((resolve) => {
    child.on("exit", (code, signal) => resolve(signal ? 128 + constants.signals[signal] : (code ?? 1)));
  });
}
