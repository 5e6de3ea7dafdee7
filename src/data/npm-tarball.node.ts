/** Tarballs from an npm registry: downloads that go on where they were cut off, and are checked before they are used. */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { TsumikiError } from "../errors.js";

export interface PackageVersion {
  readonly package: string;
  readonly version: string;
  /** `sha512-` and the base64 digest of the tarball, as in a lock file. */
  readonly integrity: string;
  /** Length of the tarball [bytes]. */
  readonly packageBytes: number;
}

export interface FetchOptions {
  /** Where downloads lie while they are not whole. It must exist. */
  readonly folder: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
}

/** Downloads under way in this process: two corpora of one package wait for each other. */
const underWay = new Map<string, Promise<unknown>>();

/**
 * Calls `use` with the path of the package's tarball, which is removed afterwards.
 *
 * Its address comes from `npm view`, so that the user's registry decides. What has arrived of a download that is cut off, by the network,
 * Ctrl-C or a kill, is kept, and the next call asks for the rest. A registry that only npm may read (one with a password, or behind a
 * proxy) is left to `npm pack`.
 */
export async function withTarball<T>(
  wanted: PackageVersion,
  options: FetchOptions,
  use: (tarball: string) => Promise<T>,
): Promise<T> {
  const name = `${wanted.package.replace("/", "+")}-${wanted.version}`;
  const earlier = underWay.get(name);
  const task = (async () => {
    await earlier?.catch(() => undefined);
    const tarball = await claimPartialDownload(options.folder, name);
    try {
      await download(wanted, tarball, options);
      await checkIntegrity(wanted, tarball);
      const result = await use(tarball);
      await rm(tarball, { force: true });
      return result;
    } catch (error) {
      // What does not fit its hash is of no use to the next call; everything else is.
      if (error instanceof IntegrityError) await rm(tarball, { force: true });
      throw error;
    }
  })();
  underWay.set(name, task);
  try {
    return await task;
  } finally {
    if (underWay.get(name) === task) underWay.delete(name);
  }
}

class IntegrityError extends TsumikiError {
  constructor({ package: name, version, integrity }: PackageVersion, found: string) {
    super(
      "NETWORK",
      `The registry delivered another ${name}@${version} than the one that is pinned: its integrity is ${found}, not ${integrity}. ` +
        "It was not used. See npm config get registry for where it came from.",
    );
  }
}

/** The path of a partial download that belongs to this process: one that a process left behind which no longer runs, else a new one. */
async function claimPartialDownload(folder: string, name: string): Promise<string> {
  const own = join(folder, `${name}.${process.pid}.part`);
  for (const file of await readdir(folder)) {
    const owner =
      file.startsWith(`${name}.`) && file.endsWith(".part") ? Number(file.slice(name.length + 1, -".part".length)) : 0;
    if (owner > 0 && owner !== process.pid && !isRunning(owner)) {
      await rename(join(folder, file), own).catch(() => undefined); // another process may have been faster
      break;
    }
  }
  return own;
}

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function download(wanted: PackageVersion, path: string, options: FetchOptions): Promise<void> {
  const specifier = `${wanted.package}@${wanted.version}`;
  const address = (await npm(["view", specifier, "dist.tarball"], specifier, options.signal)).trim().split("\n").at(-1) ?? "";
  try {
    await downloadFrom(address, path, wanted, options);
  } catch (cause) {
    if (options.signal?.aborted) throw new TsumikiError("ABORTED", `Fetching ${specifier} was stopped.`, { cause });
    if (!(cause instanceof RefusedError)) {
      const arrived = await lengthOf(path);
      throw new TsumikiError(
        "NETWORK",
        `The download of ${specifier} broke off after ${arrived} bytes (${(cause as Error).message}). The same again goes on from there.`,
        { cause },
      );
    }
    await npmPack(specifier, path, options);
  }
}

/** A server that does not give the file to us, though it may to npm. */
class RefusedError extends Error {}

/** How often a connection may be lost, as long as each brings some bytes. */
const mostConnections = 20;

async function downloadFrom(
  address: string,
  path: string,
  { packageBytes }: PackageVersion,
  options: FetchOptions,
): Promise<void> {
  const { signal, onProgress } = options;
  for (let connection = 1; ; connection++) {
    const before = await lengthOf(path);
    if (before === packageBytes) return;
    try {
      const response = await fetch(address, {
        headers: before > 0 && before < packageBytes ? { range: `bytes=${before}-` } : {},
        signal: signal ?? null,
      }).catch((cause) => {
        throw connection === 1 && before === 0 ? new RefusedError("no connection", { cause }) : cause;
      });
      if (!response.ok || response.body === null) throw new RefusedError(`the server answered ${response.status}`);
      const goesOn = response.status === 206;
      let loaded = goesOn ? before : 0;
      const file = await open(path, goesOn ? "a" : "w");
      try {
        for await (const chunk of response.body) {
          await file.write(chunk as Uint8Array);
          loaded += (chunk as Uint8Array).length;
          onProgress?.({ loaded, total: packageBytes });
        }
        await file.sync();
      } finally {
        await file.close();
      }
      return; // whether it is whole, its hash says
    } catch (error) {
      const moved = (await lengthOf(path)) > before;
      if (error instanceof RefusedError || signal?.aborted || !moved || connection === mostConnections) throw error;
    }
  }
}

const lengthOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

async function checkIntegrity(wanted: PackageVersion, path: string): Promise<void> {
  const hash = createHash("sha512");
  await pipeline(createReadStream(path), hash);
  const found = `sha512-${hash.digest("base64")}`;
  if (found !== wanted.integrity) throw new IntegrityError(wanted, found);
}

async function npmPack(specifier: string, path: string, { folder, signal }: FetchOptions): Promise<void> {
  const packed = await mkdtemp(join(folder, "npm-pack-"));
  try {
    await npm(["pack", specifier, "--ignore-scripts", "--silent", "--pack-destination", packed], specifier, signal);
    const [name] = (await readdir(packed)).filter((file) => file.endsWith(".tgz"));
    if (name === undefined) throw new TsumikiError("NETWORK", `npm pack ${specifier} left no tarball.`);
    await rename(join(packed, name), path);
  } finally {
    await rm(packed, { recursive: true, force: true });
  }
}

/** What npm prints. It runs in the present folder, so that its `.npmrc` holds too. */
async function npm(parameters: readonly string[], specifier: string, signal?: AbortSignal): Promise<string> {
  const child = spawn("npm", [...parameters, "--prefer-offline", "--loglevel=error"], {
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32", // npm is npm.cmd there; no argument needs quoting
    ...(signal && { signal }),
  });
  let [output, complaint] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  }).catch((cause) => {
    if (signal?.aborted) throw new TsumikiError("ABORTED", `Fetching ${specifier} was stopped.`, { cause });
    throw new TsumikiError(
      "NETWORK",
      `${specifier} is fetched with npm, which could not be started (${cause.message}). Install npm.`,
      { cause },
    );
  });
  if (exitCode === 0) return output;
  throw new TsumikiError(
    "NETWORK",
    `npm could not fetch ${specifier}. Check the connection and npm's registry and proxy. npm says:\n${complaint.trim()}`,
  );
}
