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

/** Poems whose text is lost are there with a full stop or 空 ("empty") for a text: what has fewer than four characters is left out. */
function* poemsOf(files: PackageFiles): Generator<Poem> {
  const number = (path: string) => Number(/\d+/.exec(path)?.[0] ?? 0);
  for (const path of [...files.paths].sort((a, b) => number(a) - number(b)))
    for (const { title, rhythmic, author, paragraphs } of JSON.parse(files.text(path)) as PackagedPoem[]) {
      const text = paragraphs
        .map((line) => line.trim())
        .filter((line) => line !== "")
        .join("\n");
      if (/(\p{Script=Han}\P{Script=Han}*){4}/u.test(text))
        yield { title: (title ?? rhythmic ?? "").trim(), author: author.trim(), text };
    }
}

export const tangPoems = rowsAsStored<Poem>({
  card: {
    name: "tang-poems",
    description: "The Complete Tang Poems (全唐詩), in traditional characters.",
    languages: ["lzh-Hant"],
    ...origin,
    bytes: 15_108_899,
    sha256: "a5353801537e18a93186e0da60e6656ac9b4f86d09ce18f91ec427d5e0342bb6",
    splits: { train: 51_629, validation: 2_937, test: 2_820 },
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
    bytes: 65_376_814,
    sha256: "86fdf101973c448e2e039d26055f6453836615a6e20f28e1cfc4ee14e244ff08",
    splits: { train: 228_730, validation: 12_560, test: 12_850 },
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
    bytes: 6_524_578,
    sha256: "27d7f9c7c9e6b2cbbe11cacf6594334c09f34b9b8b5812b2ba4d9bc5b4f8808c",
    splits: { train: 18_977, validation: 1_045, test: 1_022 },
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
    bytes: 3_834_560,
    sha256: "3873e1773702c358ae55b7538492203cf7bea7dcca95cb79304dbf33afd56a48",
    splits: { train: 9_753, validation: 523, test: 553 },
  },
  wants: (path) => path === "dist/yuanqu/yuanqu.json",
  rows: poemsOf,
});
