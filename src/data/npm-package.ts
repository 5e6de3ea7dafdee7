/** Files out of a published npm package, fetched once from the user's own registry. */

import { list } from "tar";
import { TsumikiError } from "../errors.js";
import { type FetchOptions, type PackageVersion, withTarball } from "./npm-tarball.node.js";

export type { FetchOptions, PackageVersion } from "./npm-tarball.node.js";

/**
 * The files of a package that are wanted, by their path inside the package. No script of the package runs and no dependency is fetched.
 *
 * @throws TsumikiError NETWORK when npm is missing or fails or delivers another tarball than the pinned one, ABORTED by the signal
 */
export function npmPackageFiles(
  wanted: PackageVersion,
  filter: (path: string) => boolean,
  options: FetchOptions,
): Promise<Map<string, Uint8Array>> {
  // Tarballs have one folder at the top, mostly "package", but some packages name it otherwise.
  const inside = (path: string) => path.slice(path.indexOf("/") + 1);
  return withTarball(wanted, options, async (tarball) => {
    const files = new Map<string, Uint8Array>();
    const reads: Promise<unknown>[] = [];
    await list({
      file: tarball,
      filter: (path) => !path.endsWith("/") && filter(inside(path)), // folders are entries too
      onReadEntry: (entry) => reads.push(entry.concat().then((content) => files.set(inside(entry.path), content))),
    });
    await Promise.all(reads);
    if (options.signal?.aborted) throw new TsumikiError("ABORTED", `Fetching ${wanted.package} was stopped.`);
    return files;
  });
}
