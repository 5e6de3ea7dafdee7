/**
 * The cache of downloaded models, laid out as Python's huggingface_hub has it, so that both share what was downloaded:
 *
 * ```
 * models--org--name/
 *   refs/main               the commit that `main` was at
 *   blobs/<hash>            the files, by their content
 *   snapshots/<commit>/     their names at that commit: links to the blobs
 * ```
 */

import { copyFile, link, mkdir, readdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { getHFHubCachePath } from "@huggingface/hub";
import { writeFileAtomically } from "../files/atomic.node.js";

export interface RepositoryCache {
  readonly blobs: string;
  /** The folder with the files of a commit. */
  snapshot(commit: string): string;
  /** The commit at which a branch or a tag was last seen; a commit is itself. */
  commitOf(revision: string): Promise<string | undefined>;
  rememberCommit(revision: string, commit: string): Promise<void>;
}

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** @param cacheFolder default: `HF_HUB_CACHE`, `HF_HOME`/hub, or ~/.cache/huggingface/hub */
export function repositoryCache(repository: string, cacheFolder: string = getHFHubCachePath()): RepositoryCache {
  const root = join(cacheFolder, `models--${repository.replaceAll("/", "--")}`);
  return {
    blobs: join(root, "blobs"),
    snapshot: (commit) => join(root, "snapshots", commit),
    async commitOf(revision) {
      if (isCommit(revision)) return revision;
      const commit = (await readFile(join(root, "refs", revision), "utf8").catch(() => "")).trim();
      return isCommit(commit) ? commit : undefined;
    },
    async rememberCommit(revision, commit) {
      if (isCommit(revision)) return;
      const path = join(root, "refs", revision);
      await mkdir(dirname(path), { recursive: true });
      await writeFileAtomically(path, commit);
    },
  };
}

/** The size of a file, or undefined where there is none (a link whose target has gone counts as none). */
export const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );

export const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);

/** Gives a blob its name in a snapshot: a link where the system lets us make one, else a copy. */
export async function placeBlob(blob: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  await symlink(relative(dirname(path), blob), path)
    .catch(() => link(blob, path))
    .catch(() => copyFile(blob, path));
}
