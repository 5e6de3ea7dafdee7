/** The command line. Each file of `commands/` is one command: see `CommandModule`. */

import { readdirSync } from "node:fs";
import { endWithReader } from "./closed-pipe.js";
import { handleInterrupts } from "./interrupt.js";
import { type CommandModule, runProgram } from "./program.js";

/** The commands' modules in alphabetical order: `.ts` files in a clone, `.js` files in the package. */
async function loadCommands(): Promise<CommandModule[]> {
  const folder = new URL("./commands/", import.meta.url);
  const files = readdirSync(folder).filter((name) => /^[a-z-]+\.[jt]s$/.test(name));
  return Promise.all(files.sort().map((name) => import(new URL(name, folder).href) as Promise<CommandModule>));
}

handleInterrupts();
endWithReader(process.stdout);
endWithReader(process.stderr);
// Set, not called: what is still on its way to a pipe gets there.
process.exitCode = await runProgram(process.argv.slice(2), await loadCommands());
