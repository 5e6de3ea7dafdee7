/** A file of data: how it is packed and what its rows look like, told by its name. */

export type FileKind = "jsonl" | "json" | "csv" | "tsv" | "parquet" | "text";
export type Compression = "none" | "gzip" | "zstd";

export interface DataFile {
  readonly path: string;
  readonly kind: FileKind;
  readonly compression: Compression;
}

const kinds: Readonly<Record<string, FileKind>> = {
  jsonl: "jsonl",
  ndjson: "jsonl",
  json: "json",
  csv: "csv",
  tsv: "tsv",
  parquet: "parquet",
  txt: "text",
  text: "text",
  md: "text",
};

const compressions: Readonly<Record<string, Compression>> = { gz: "gzip", gzip: "gzip", zst: "zstd", zstd: "zstd" };

export const knownEndings: readonly string[] = Object.keys(kinds).map((ending) => `.${ending}`);

/** What the file's name says; `undefined` where its ending is not known. */
export function dataFileNamed(path: string): DataFile | undefined {
  const endings = path.toLowerCase().split(/[\\/]/).at(-1)?.split(".").slice(1) ?? [];
  const compression = compressions[endings.at(-1) ?? ""] ?? "none";
  const kind = kinds[endings.at(compression === "none" ? -1 : -2) ?? ""];
  return kind === undefined ? undefined : { path, kind, compression };
}
