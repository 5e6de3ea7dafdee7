/** Peers from npm that are no dependencies of this project: they are looked for in the folder that TSUMIKI_PEERS names. */

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { PeerAbsent } from "../protocol.js";

const install =
  "npm install --prefix $TSUMIKI_PEERS @jax-js/jax@0.1.25 @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0";

function folder(): string {
  const path = process.env.TSUMIKI_PEERS;
  if (!path) throw new PeerAbsent(`TSUMIKI_PEERS is not set: it names a folder outside the repository, filled by ${install}`);
  return path;
}

const packageFolder = (name: string): string => {
  const path = join(folder(), "node_modules", name);
  if (!existsSync(path)) throw new PeerAbsent(`${name} is not installed in ${folder()}: ${install}`);
  return path;
};

export const versionOf = (name: string): string =>
  (JSON.parse(readFileSync(join(packageFolder(name), "package.json"), "utf8")) as { version: string }).version;

/** Loads an ES module of a package. `file` is inside the package; it has the interface that the caller says. */
export async function importOptional<Module>(name: string, file: string): Promise<Module> {
  return (await import(pathToFileURL(join(packageFolder(name), file)).href)) as Module;
}

/** The same for a CommonJS package by its name. */
export function requireOptional<Module>(name: string): Module {
  packageFolder(name);
  return createRequire(join(folder(), "package.json"))(name) as Module;
}
