import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { rowRecipes } from "../corpora.js";
import { type CorpusCard, corpora, corpus, type RowCorpusName, renderSvg } from "../index.js";
import { trainingFileOf } from "../sources.node.js";
import { hash32, type PackageFiles, type RowRecipe, type Split, splitByHash } from "./card.js";

const filesOf = (content: Readonly<Record<string, string | Uint8Array>>): PackageFiles => {
  const bytes = (path: string) => {
    const found = content[path];
    if (found === undefined) throw new Error(`no ${path}`);
    return typeof found === "string" ? new TextEncoder().encode(found) : found;
  };
  return { paths: Object.keys(content).sort(), bytes, text: (path) => new TextDecoder().decode(bytes(path)) };
};

/** The rows that a corpus makes of files, which it must want. */
function rowsOf(name: RowCorpusName, content: Readonly<Record<string, string | Uint8Array>>): unknown[] {
  const recipe = rowRecipes[name] as unknown as RowRecipe<unknown, Record<string, unknown>>;
  for (const path of Object.keys(content)) expect(recipe.wants(path), path).toBe(true);
  const stored = [...recipe.rows(filesOf(content))];
  for (const row of stored) {
    expect(Object.keys(row).sort()).toEqual(Object.keys(recipe.card.fields ?? {}).sort());
    expect(JSON.parse(JSON.stringify(row))).toEqual(row);
  }
  return stored.map(recipe.parse);
}

describe("cards", () => {
  it.each(Object.entries<CorpusCard>(corpora))("%s says what it is", (name, card) => {
    expect(card.name).toBe(name);
    expect(card.integrity).toMatch(/^sha512-[A-Za-z0-9+/]{86}==$/);
    expect(card.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(Math.min(card.bytes, card.packageBytes)).toBeGreaterThan(10_000);
    expect(Math.min(card.description.length, card.license.length, card.source.length, card.languages.length)).toBeGreaterThan(0);
    if (card.kind === "text") expect(card.splits).toBeUndefined();
    else {
      const { train, validation, test } = card.splits as Record<Split, number>;
      expect(Math.min(validation, test)).toBeGreaterThan(0.03 * train);
      expect(Object.keys(card.fields ?? {}).length).toBeGreaterThan(1);
      expect(card.splitBy).toBeTruthy();
    }
  });

  it("of one package pin one tarball", () => {
    const tarballs = new Map<string, string>();
    for (const { package: name, integrity } of Object.values<CorpusCard>(corpora))
      expect(tarballs.get(name) ?? integrity).toBe(tarballs.set(name, integrity).get(name));
  });
});

describe("rows", () => {
  it("of poems come in the package's order, without empty ones", () => {
    const poem = (title: string, ...paragraphs: string[]) => ({ title, author: "李白", paragraphs, id: "x" });
    const rows = rowsOf("tang-poems", {
      "dist/quantangshi/poet.tang.10000.json": JSON.stringify([poem("third", "丙丙丙丙。")]),
      "dist/quantangshi/poet.tang.0.json": JSON.stringify([
        poem("first", " 甲乙丙丁。", "乙。 "),
        poem("empty", " "),
        poem("lost", "空。"),
        poem("lost", "。"),
      ]),
      "dist/quantangshi/poet.tang.2000.json": JSON.stringify([poem("second", "丁丁，丁丁。")]),
    });
    expect(rows).toEqual([
      { title: "first", author: "李白", text: "甲乙丙丁。\n乙。" },
      { title: "second", author: "李白", text: "丁丁，丁丁。" },
      { title: "third", author: "李白", text: "丙丙丙丙。" },
    ]);
    const ci = JSON.stringify([{ rhythmic: "浣溪沙", author: "晏殊", paragraphs: ["一曲新词酒一杯。"] }]);
    expect(rowsOf("song-ci", { "dist/songci/ci.song.0.json": ci })).toMatchObject([{ title: "浣溪沙" }]);
    for (const path of [
      "dist/quantangshi/error/poet.tang.0.json",
      "dist/quantangshi/authors.tang.json",
      "dist/songci/ci.song.2019y.json",
    ])
      expect(
        [rowRecipes["tang-poems"], rowRecipes["song-ci"]].some(({ wants }) => wants(path)),
        path,
      ).toBe(false);
  });

  it("of the Brown corpus keep slashes in words, and documents in one split", () => {
    const files = {
      "cats.txt": "ca01 news\nck12 fiction\n",
      ca01: "\n\n\tThe/at 1/2/cd mile/nn ./.\n\n\n\tIt/pps\n",
      ck12: "\tYes/rb ,/,\n",
    };
    expect(rowsOf("brown", files)).toEqual([
      { document: "ca01", category: "news", tokens: ["The", "1/2", "mile", "."], tags: ["at", "cd", "nn", "."] },
      { document: "ca01", category: "news", tokens: ["It"], tags: ["pps"] },
      { document: "ck12", category: "fiction", tokens: ["Yes", ","], tags: ["rb", ","] },
    ]);
  });

  it("of WordNet leave out the licence, markers and underscores", () => {
    const files = {
      "dict/data.adj":
        '  1 This software and database is provided\n00001740 00 a 01 able(p) 0 001 = 05207437 n 0000 | (usually followed by `to\') having the power; "able to swim"; "was able"  \n',
      "dict/data.noun": "00002137 03 n 02 abstraction 0 abstract_entity 0 001 @ 00001740 n 0000 | a general concept  \n",
    };
    expect(rowsOf("wordnet-glosses", files)).toEqual([
      {
        words: ["able"],
        partOfSpeech: "adjective",
        gloss: "(usually followed by `to') having the power",
        examples: ["able to swim", "was able"],
      },
      { words: ["abstraction", "abstract entity"], partOfSpeech: "noun", gloss: "a general concept", examples: [] },
    ]);
  });

  it("of the pronouncing dictionary have a word's variants under the word", () => {
    expect(rowsOf("cmudict", { "data/dict.txt": "A  AH0\nA(1)  EY1\n" })).toEqual([
      { word: "A", phonemes: ["AH0"] },
      { word: "A", phonemes: ["EY1"] },
    ]);
  });

  it("of mail have the subject unfolded and the body as sent", () => {
    const mail = (group: string, text: string) => JSON.stringify({ id: "1", group, checksum: {}, text });
    const files = {
      "data/easy-ham-1/00001.a.json": mail("easy-ham-1", "From: a\nSubject: one\n  two\nTo: b\n\nHello\n\nSubject: not this\n"),
      "data/spam-2/00002.b.json": mail("spam-2", "From: a\r\n\r\nBuy\r\n"),
      "data/spam-2/00003.c.json": mail("spam-2", "From: a\nSubject: empty\n\n"),
    };
    expect(rowsOf("spam-assassin", files)).toEqual([
      { subject: "one two", text: "Hello\n\nSubject: not this\n", label: "ham", group: "easy-ham-1" },
      { subject: "", text: "Buy\r\n", label: "spam", group: "spam-2" },
    ]);
  });

  it("of Chinese idioms have what is known", () => {
    const text =
      " 樽酒论文  拼音：zūn jiǔ lùn wén释义：一边喝酒，一边议论文章。出处：唐·杜甫诗示例：无\n 安室利处拼音：ān shì lì chù释义：安全便利的处所。\n无拼音\n";
    expect(rowsOf("chinese-idioms", { "data/3.txt": text })).toEqual([
      { idiom: "樽酒论文", pinyin: "zūn jiǔ lùn wén", meaning: "一边喝酒，一边议论文章。", origin: "唐·杜甫诗", example: "" },
      { idiom: "安室利处", pinyin: "ān shì lì chù", meaning: "安全便利的处所。", origin: "", example: "" },
    ]);
  });

  it("of Chinese addresses name the parts of real places, character by character", () => {
    const committees = ["文一社区居委会", "文一居民委员会", "长泡村委会", "长泡村村民委员会", "乌兰嘎查委会", "虚拟社区"];
    const villages = Array.from(
      { length: 900 },
      (_, i) => `330106001${String(i).padStart(3, "0")},"${committees[i % committees.length]}",330106001,33,3301,330106`,
    );
    const rows = rowsOf("chinese-addresses", {
      "dist/provinces.csv": 'code,name\n33,"浙江省"\n',
      "dist/cities.csv": 'code,name,provinceCode\n3301,"杭州市",33\n',
      "dist/areas.csv": 'code,name,cityCode,provinceCode\n330106,"西湖区",3301,33\n',
      "dist/streets.csv": 'code,name,areaCode,provinceCode,cityCode\n330106001,"北山街道办事处",330106,33,3301\n',
      "dist/villages.csv": `code,name,streetCode,provinceCode,cityCode,areaCode\n${villages.join("\n")}\n`,
    }) as { tokens: string[]; labels: string[] }[];
    expect(rows.length).toBeGreaterThan(20);
    const spoken = {
      province: /^浙江省?$/,
      city: /^杭州市$/,
      district: /^西湖区$/,
      town: /^北山街道$/,
      village: /^(文一社区|长泡村|乌兰嘎查)$/,
      number: /^\d+号$/,
      room: /^\d+(栋\d+室|单元\d+)$/,
    };
    const seen = new Set<string>();
    for (const { tokens, labels } of rows) {
      const parts: [string, string][] = [];
      for (const [i, label] of labels.entries()) {
        const [place = "", name = ""] = label.split("-");
        if (place === "B") parts.push([name, tokens[i] as string]);
        else {
          const last = parts.at(-1) as [string, string];
          expect(name).toBe(last[0]);
          last[1] += tokens[i];
        }
      }
      for (const [name, text] of parts) expect(text).toMatch(spoken[name as keyof typeof spoken]);
      const order = parts.map(([name]) => Object.keys(spoken).indexOf(name));
      expect(order).toEqual([...order].sort());
      for (const [name] of parts) seen.add(name);
      expect(parts.some(([name]) => name === "town" || name === "village")).toBe(true);
    }
    expect([...seen].sort()).toEqual(Object.keys(spoken).sort());
  });

  it("of emoji have a name in each language that gives one", () => {
    const annotations = (names: Record<string, { tts?: string[]; default: string[] }>) =>
      JSON.stringify({ annotations: { identity: {}, annotations: names } });
    expect(
      rowsOf("emoji-names", {
        "annotations/de/annotations.json": annotations({ "🐋": { tts: ["Wal"], default: [] }, "😀": { default: ["x"] } }),
        "annotations/en/annotations.json": annotations({
          "🐋": { tts: ["whale"], default: [] },
          "😀": { tts: ["grinning face"], default: [] },
        }),
        "annotations/und/annotations.json": JSON.stringify({ annotations: { identity: {} } }),
      }),
    ).toEqual([
      { symbol: "🐋", names: { de: "Wal", en: "whale" } },
      { symbol: "😀", names: { en: "grinning face" } },
    ]);
  });

  it("of digits are images, with the collection's own test set", () => {
    const pixels = (value: number, count: number) =>
      Uint8Array.from({ length: 16 + 784 * count }, (_, i) => (i < 16 ? 0 : value));
    const files = {
      "data/train-images-idx3-ubyte": pixels(7, 2),
      "data/train-labels-idx1-ubyte": Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 3, 4),
      "data/t10k-images-idx3-ubyte": pixels(255, 1),
      "data/t10k-labels-idx1-ubyte": Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 9),
    };
    const rows = rowsOf("digits", files) as { label: number; image: { data: Uint8Array } }[];
    expect(rows.map(({ label }) => label)).toEqual([3, 4, 9]);
    expect(rows[0]?.image).toEqual({ width: 28, height: 28, channels: 1, data: new Uint8Array(784).fill(7) });
    const { rows: stored, splitOf } = rowRecipes.digits;
    expect([...stored(filesOf(files))].map(splitOf).map((split) => split === "test")).toEqual([false, false, true]);
  });

  it("of icon sets are pictures of their own, without hidden ones", () => {
    const set = {
      width: 24,
      height: 24,
      icons: { "red-dot": { body: "<circle/>" }, old: { body: "", hidden: true }, wide: { body: "<path/>", width: 48 } },
    };
    expect(rowsOf("icons", { "icons.json": JSON.stringify(set) })).toEqual([
      { text: "red dot", svg: '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><circle/></svg>' },
      { text: "wide", svg: '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 24"><path/></svg>' },
    ]);
  });

  it("of births are days in order, split by year", () => {
    const files = {
      "data/data.csv": "year,month,date_of_month,day_of_week,births\n1994,1,1,6,8096\n2002,12,31,2,11\n2003,1,1,3,12\n",
    };
    expect(rowsOf("births", files)).toEqual([
      { date: "1994-01-01", births: 8096 },
      { date: "2002-12-31", births: 11 },
      { date: "2003-01-01", births: 12 },
    ]);
    const { rows: stored, splitOf } = rowRecipes.births;
    expect([...stored(filesOf(files))].map(splitOf)).toEqual(["train", "validation", "test"]);
  });
});

describe("splits", () => {
  it("are fixed by the hash of a text", () => {
    // MurmurHash3's finalizer of the published FNV-1a values of "", "a" and "foobar": 0x811c9dc5, 0xe40c292c, 0xbf9cf968.
    const finalized = (hash: number) => {
      let mixed = BigInt(hash);
      mixed = ((mixed ^ (mixed >> 16n)) * 0x85ebca6bn) & 0xffffffffn;
      mixed = ((mixed ^ (mixed >> 13n)) * 0xc2b2ae35n) & 0xffffffffn;
      return Number(mixed ^ (mixed >> 16n));
    };
    expect([hash32(""), hash32("a"), hash32("foobar")]).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968].map(finalized));
    const counts = { train: 0, validation: 0, test: 0 };
    for (let i = 0; i < 20_000; i++) counts[splitByHash(`row ${i}`)]++;
    for (const share of [counts.validation, counts.test]) expect(Math.abs(share / 20_000 - 0.05)).toBeLessThan(0.01);
  });
});

describe("from npm", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tsumiki-corpora-"));
    vi.stubEnv("TSUMIKI_CACHE", folder);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true });
  });

  it.each(["icons", "chinese-sentences", "births"] as const)("%s has the rows and splits that its card says", async (name) => {
    const parts: unknown[] = [];
    for (const split of ["train", "validation", "test"] as const) {
      const rows = await corpus(name, { split });
      expect(rows).toHaveLength(corpora[name].splits?.[split] ?? -1);
      parts.push(...rows);
    }
    const all = await corpus(name);
    expect(parts.map((row) => JSON.stringify(row)).sort()).toEqual(all.map((row) => JSON.stringify(row)).sort());
  });

  it("pictures are drawn in any size", async () => {
    const [{ svg } = { svg: "" }] = await corpus("icons");
    const grey = await renderSvg(svg, { size: 16, channels: 1 });
    expect(grey).toMatchObject({ width: 16, height: 16, channels: 1 });
    expect(grey.data).toHaveLength(16 * 16);
    expect(Math.min(...grey.data)).toBeLessThan(100);
    expect(Math.max(...grey.data)).toBe(255);
  });
});

describe("renderSvg", () => {
  const half = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1"><rect width="1" height="1" fill="#ff0000"/></svg>';

  it("fits a picture in, on its background", async () => {
    const { data } = await renderSvg(half, { size: 8, background: "#0000ff" });
    const pixel = (row: number, column: number) => [...data.subarray(3 * (8 * row + column), 3 * (8 * row + column) + 3)];
    expect(data).toHaveLength(8 * 8 * 3);
    expect([pixel(4, 1), pixel(4, 6), pixel(0, 1)]).toEqual([
      [255, 0, 0],
      [0, 0, 255],
      [0, 0, 255],
    ]);
  });

  it("refuses what is no picture and sizes that are none", async () => {
    await expect(renderSvg("<p>", { size: 8 })).rejects.toMatchObject({ code: "DATA" });
    for (const size of [0, 1.5, Number.NaN]) await expect(renderSvg(half, { size })).rejects.toMatchObject({ code: "ARGUMENT" });
  });
});

describe("what of a corpus is trained on", () => {
  it("leaves the test split out, and has the validation split at its end", async () => {
    const path = await trainingFileOf("chinese-idioms");
    const { parse, splitOf } = rowRecipes["chinese-idioms"] as unknown as RowRecipe<unknown, unknown>;
    const stored = (await readFile(path, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    const splits = stored.map(splitOf);
    expect(splits).not.toContain("test");
    const first = splits.indexOf("validation");
    expect(splits.slice(first).every((split) => split === "validation")).toBe(true);
    const { train, validation } = corpora["chinese-idioms"].splits as { train: number; validation: number };
    expect([first, splits.length - first]).toEqual([train, validation]);
    expect(parse(stored[0])).toEqual((await corpus("chinese-idioms", { split: "train" }))[0]);
    expect(await trainingFileOf("moby-dick")).toMatch(/moby-dick.*\.txt$/);
  });
});
