/** Files of data by path, folder or glob (Node). */

import { open, stat } from "node:fs/promises";
import { relative, resolve, sep } from "node:path";
import { glob, isDynamicPattern } from "tinyglobby";
import { TsumikiError } from "../errors.js";
import { type DataFile, dataFileNamed, knownEndings } from "./data-file.js";
import { unreadableFile } from "./read/bytes.node.js";

export interface FoundFiles {
  readonly files: readonly DataFile[];
  /** Files in the folders that were given whose endings are not known: they are not read. */
  readonly ignored: readonly string[];
}

/**
 * The files that `sources` name: paths of files, folders (with all that is in them) and globs such as `data/*.jsonl.gz`, each in the
 * order of its names. A file that is named by itself and has no known ending is plain text, or Parquet if it begins like that.
 *
 * @throws TsumikiError DATA for a path that is not there, a folder or glob without files that can be read, a file named twice
 */
export async function findFiles(sources: readonly string[]): Promise<FoundFiles> {
  const files: DataFile[] = [];
  const ignored: string[] = [];
  for (const source of sources) {
    const kind = await kindOf(source);
    if (kind === "file") {
      files.push(dataFileNamed(source) ?? { path: source, kind: await kindByContent(source), compression: "none" });
      continue;
    }
    if (kind === undefined && !isDynamicPattern(source))
      throw new TsumikiError("DATA", `There is no file or folder at ${source} (looked for in ${process.cwd()}).`);
    const pattern = kind === "folder" ? "**/*" : source.split(sep).join("/");
    const root = kind === "folder" ? source : ".";
    const names = await glob(pattern, { cwd: root, absolute: true, expandDirectories: false });
    const paths = names.map((name) => (resolve(source) === source || source.startsWith("..") ? name : relative("", name))).sort();
    const known = paths.flatMap((path) => dataFileNamed(path) ?? []);
    if (known.length === 0)
      throw new TsumikiError(
        "DATA",
        `${source} ${kind === "folder" ? "is a folder" : "is a glob"} without a file that can be read: their names end in ` +
          `${knownEndings.join(", ")}, perhaps followed by .gz or .zst${paths.length > 0 ? `; there are ${paths.slice(0, 5).join(", ")}` : ""}.`,
      );
    files.push(...known);
    ignored.push(...paths.filter((path) => !dataFileNamed(path)));
  }
  const byPath = new Set<string>();
  for (const { path } of files) {
    if (byPath.has(resolve(path))) throw new TsumikiError("DATA", `${path} is named twice; it would be read twice.`);
    byPath.add(resolve(path));
  }
  return { files, ignored };
}

async function kindOf(path: string): Promise<"file" | "folder" | undefined> {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "file";
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadableFile(path, "", cause);
  }
}

const parquetMark = "PAR1";

async function kindByContent(path: string): Promise<"parquet" | "text"> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(new Uint8Array(parquetMark.length), 0, parquetMark.length, 0);
    return Buffer.from(buffer.subarray(0, bytesRead)).toString("latin1") === parquetMark ? "parquet" : "text";
  } catch (cause) {
    throw unreadableFile(path, "", cause);
  }
}
