/** Classical Chinese poetry out of one large package, in parts that are fetched alone. */

import { type CorpusCard, type PackageFiles, rowsAsStored } from "./card.js";

export interface Poem {
  readonly title: string;
  readonly author: string;
  /** Its lines, between line ends. */
  readonly text: string;
}

const origin = {
  kind: "rows",
  license: "MIT",
  source: "https://github.com/chinese-poetry/chinese-poetry",
  package: "chinese-poetry",
  version: "2.0.1",
  integrity: "sha512-KtYARvV7CWNtax0na9+Jn6PlhGgSoid7PWyDzXI4KsCEm2odZcqEQyval5koaLygZnM/EQ3lfJ//25K8p3uHNg==",
  packageBytes: 85_464_664,
  fields: { title: "title; of a ci, its tune", author: "poet", text: "lines, between line ends" },
  splitBy: "hash of the poem",
} as const satisfies Partial<CorpusCard>;

/** Poems as the package has them: `paragraphs` are lines; a ci has a tune (`rhythmic`) for a title. */
interface PackagedPoem {
  readonly title?: string;
  readonly rhythmic?: string;
  readonly author: string;
  readonly paragraphs: readonly string[];
}

function* poemsOf(files: PackageFiles): Generator<Poem> {
  const number = (path: string) => Number(/\d+/.exec(path)?.[0] ?? 0);
  for (const path of [...files.paths].sort((a, b) => number(a) - number(b)))
    for (const { title, rhythmic, author, paragraphs } of JSON.parse(files.text(path)) as PackagedPoem[]) {
      const text = paragraphs
        .map((line) => line.trim())
        .filter((line) => line !== "")
        .join("\n");
      if (text !== "") yield { title: (title ?? rhythmic ?? "").trim(), author: author.trim(), text };
    }
}

export const tangPoems = rowsAsStored<Poem>({
  card: {
    name: "tang-poems",
    description: "The Complete Tang Poems (全唐詩), in traditional characters.",
    languages: ["lzh-Hant"],
    ...origin,
    bytes: 15_134_080,
    sha256: "a7c51787aadf2f73974c0bb4054ac8c3a0b96bbb45d9accbc717235d2350ae4d",
    splits: { train: 51_824, validation: 2_951, test: 2_828 },
  },
  wants: (path) => /^dist\/quantangshi\/poet\.tang\.\d+\.json$/.test(path),
  rows: poemsOf,
});

export const songPoems = rowsAsStored<Poem>({
  card: {
    name: "song-poems",
    description: "The Complete Song Poems (全宋詩), in traditional characters.",
    languages: ["lzh-Hant"],
    ...origin,
    bytes: 65_384_550,
    sha256: "c8eae5622bca93f3c32dc8094f37c8eb8d0c3c445a9d7fc78217462b9c87f601",
    splits: { train: 228_809, validation: 12_563, test: 12_853 },
  },
  wants: (path) => /^dist\/quantangshi\/poet\.song\.\d+\.json$/.test(path),
  rows: poemsOf,
});

export const songCi = rowsAsStored<Poem>({
  card: {
    name: "song-ci",
    description: "The Complete Song Ci (全宋词): lyrics to given tunes, in simplified characters.",
    languages: ["lzh-Hans"],
    ...origin,
    bytes: 6_525_201,
    sha256: "983de02d4c46c306f1cd862a478eea9395f7e3f8cc20cc8cf15cc9db2955e152",
    splits: { train: 18_982, validation: 1_045, test: 1_023 },
  },
  wants: (path) => /^dist\/songci\/ci\.song\.\d+\.json$/.test(path),
  rows: poemsOf,
});

export const yuanQu = rowsAsStored<Poem>({
  card: {
    name: "yuan-qu",
    description: "Songs and arias of the Yuan dynasty (元曲), in simplified characters.",
    languages: ["lzh-Hans"],
    ...origin,
    bytes: 3_847_170,
    sha256: "50a6b63cc22e496a3f389e46458e9db0a1c112f235f432b64a7aaf09f675d8ba",
    splits: { train: 9_832, validation: 526, test: 556 },
  },
  wants: (path) => path === "dist/yuanqu/yuanqu.json",
  rows: poemsOf,
});
