import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { namedRandom } from "../../graph/random.js";
import { corpus } from "../corpus.js";
import type { Example, TextExample } from "../example.js";
import { datasetOf, type Position } from "../stream/dataset.js";
import { bandsFor, exactDuplicates, minHash, nearDuplicates, similarity } from "./duplicates.js";
import { describeReports, type Filter, filtered } from "./filter.js";
import { lengthFilter } from "./length.js";
import { c4, gopherQuality, gopherRepetition } from "./quality.js";
import { wordsOf } from "./words.js";

const random = namedRandom(1, "filters");
const vocabulary = Array.from({ length: 3000 }, () =>
  Array.from({ length: 3 + random.below(6) }, () => String.fromCharCode(97 + random.below(26))).join(""),
);
const word = () => vocabulary[random.below(vocabulary.length)] as string;
const sentence = () => `${Array.from({ length: 12 }, word).join(" ")}.`;
const prose = (sentences = 20) => Array.from({ length: sentences }, sentence).join("\n");
const chinese = Array.from({ length: 300 }, (_, i) => String.fromCodePoint(0x4e00 + 7 * i) + (i % 20 === 19 ? "。\n" : "")).join(
  "",
);

const judge = (filter: Filter, ...texts: readonly string[]) => texts.map(filter.start());

describe("what decides which texts are dropped", () => {
  /** Texts about which every filter has something to say. */
  const texts = (() => {
    const drawn = namedRandom(7, "judged");
    const words = [
      "the",
      "sea",
      "whale",
      "#",
      "...",
      "{",
      "lorem ipsum",
      "1851",
      "🐳",
      "鲸鱼。",
      "incomprehensibilities",
      "a",
      "- item",
      "end.",
    ];
    return Array.from({ length: 400 }, () => {
      const [vocabularySize, length, width] = [1 + drawn.below(words.length), 1 + drawn.below(120), 1 + drawn.below(30)];
      const word = () => words[drawn.below(vocabularySize)] as string;
      return Array.from({ length }, (_, i) => word() + (i % width === width - 1 ? "\n" : " ")).join("");
    });
  })();

  // A version is raised, and its digest replaced here, when a filter comes to judge otherwise: tokens kept from before are made anew then.
  it.each([
    [lengthFilter({ minimum: 100, maximum: 300 }), 1, { minimum: 100, maximum: 300 }, "1b0f2a3ecdcadfb7"],
    [exactDuplicates(), 1, {}, "c5b2f043c59fd432"],
    [nearDuplicates(), 1, { threshold: 0.7, shingle: 5, hashes: 128 }, "8d107e9de45b980c"],
    [gopherQuality(), 1, { minimumWords: 50, maximumWords: 100_000 }, "38603941bf410d61"],
    [gopherRepetition(), 1, {}, "3a743f0c9cd72e8b"],
    [c4(), 1, { minimumSentences: 3 }, "5aa4205c2e34f4d8"],
  ] as const)("is told by $name: its version, and its settings with their defaults", (filter, version, settings, digest) => {
    const judged = judge(filter, ...texts).map((reason) => reason ?? "");
    expect(new Set(judged).size).toBeGreaterThan(1);
    expect(judged).toContain("");
    expect({ version: filter.version, settings: filter.settings }).toEqual({ version, settings });
    expect(createHash("sha256").update(judged.join("\n")).digest("hex").slice(0, 16)).toBe(digest);
  });
});

describe("words", () => {
  it("are what stands between spaces, and characters where a script has no spaces", () => {
    expect(wordsOf("The whale, 鲸鱼! ひらa1")).toEqual(["The", "whale,", "鲸", "鱼", "!", "ひ", "ら", "a1"]);
  });
});

describe("length", () => {
  it("counts code points", () => {
    expect(judge(lengthFilter({ minimum: 3, maximum: 4 }), "ab", "abc", "🐳🐳", "🐳🐳🐳🐳", "abcde", "🐳🐳🐳🐳🐳")).toEqual([
      "fewer than 3 characters",
      undefined,
      "fewer than 3 characters",
      undefined,
      "more than 4 characters",
      "more than 4 characters",
    ]);
    expect(() => lengthFilter({ minimum: 3, maximum: 2 })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});

describe("Gopher's quality rules", () => {
  it.each([
    ["prose", prose(), undefined],
    ["Chinese prose", chinese, undefined],
    ["a few words", sentence(), /fewer than 50 words/],
    ["a long text", `${"word ".repeat(100_001)}`, /more than 100000 words/],
    ["short words", Array.from({ length: 60 }, (_, i) => (i % 2 ? "a" : "bc")).join(" "), /fewer than 3 characters/],
    [
      "long words",
      Array.from({ length: 60 }, () => word() + word())
        .join(" ")
        .replace(/ (\w)/g, " xxxx$1"),
      /more than 10 characters/,
    ],
    ["hashes", prose().replaceAll(" ", " #"), /more than one #/],
    ["ellipses", prose().replaceAll(" ", "... "), /more than one …/],
    ["bullets", prose().replaceAll(/^/gm, "- "), /bullet/],
    ["lines that break off", prose(20).replaceAll(".", "…"), /end in an ellipsis/],
    ["numbers", Array.from({ length: 100 }, (_, i) => (i % 3 ? String(1000 + i) : word())).join(" "), /have a letter/],
  ])("judge %s", (_, text, expected) => {
    const [reason] = judge(gopherQuality(), text);
    if (expected === undefined) expect(reason).toBeUndefined();
    else expect(reason).toMatch(expected);
  });
});

describe("Gopher's repetition rules", () => {
  it.each([
    ["prose", prose(60), undefined],
    ["Chinese prose", chinese, undefined],
    ["lines", Array.from({ length: 10 }, (_, i) => (i < 6 ? "the same line" : sentence())).join("\n"), /lines are repeated/],
    [
      "a line of many characters",
      (() => {
        const long = prose(6).replaceAll("\n", " ");
        return [long, ...prose(9).split("\n"), long].join("\n");
      })(),
      /characters are in repeated lines/,
    ],
    ["words", `${"again and ".repeat(60)}${prose(2)}`, /one run of 2 words/],
    [
      "runs of words inside lines",
      Array.from({ length: 8 }, () => `${word()} all of this is said each time once more ${word()} ${sentence()}`).join("\n"),
      /runs of \d+ words/,
    ],
  ])("judge %s", (_, text, expected) => {
    const [reason] = judge(gopherRepetition(), text);
    if (expected === undefined) expect(reason).toBeUndefined();
    else expect(reason).toMatch(expected);
  });
});

describe("repeated runs of words", () => {
  it("are counted as the definition counts them", () => {
    // 20 % of the characters may be in one pair of words: here one pair stands there `times` times among words that are all different.
    for (const [times, expected] of [
      [39, undefined],
      [41, /one run of 2 words/],
    ] as const) {
      const others = Array.from({ length: 160 }, (_, i) => `x${String(i).padStart(3, "0")}`);
      const pairs = Array.from({ length: times }, (_, i) => `ab cd ${others[i]}`);
      const [reason] = judge(gopherRepetition(), [...pairs, ...others.slice(times)].join(" "));
      if (expected === undefined) expect(reason).toBeUndefined();
      else expect(reason).toMatch(expected);
    }
  });
});

describe("C4's rules", () => {
  it.each([
    ["prose", prose(), undefined],
    ["Chinese prose", chinese, undefined],
    ["placeholders", `${prose()} Lorem ipsum dolor.`, /lorem ipsum/],
    ["code", `${prose()} if (a) { b }`, /curly/],
    ["two sentences", `${sentence()} It is 3.5 m long.`, /fewer than 3 sentences/],
  ])("judge %s", (_, text, expected) => {
    const [reason] = judge(c4(), text);
    if (expected === undefined) expect(reason).toBeUndefined();
    else expect(reason).toMatch(expected);
  });
});

describe("exact duplicates", () => {
  it("keep the first of each text", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 3 }), { maxLength: 40 }), (texts) => {
        const verdicts = judge(exactDuplicates(), ...texts);
        const kept = texts.filter((_, i) => verdicts[i] === undefined);
        expect(kept.map((text) => text.trim())).toEqual([...new Set(texts.map((text) => text.trim()))]);
      }),
    );
  });
});

describe("near duplicates", () => {
  const changed = (text: string, share: number) =>
    text
      .split(" ")
      .map((one) => (random.uniform() < share ? word() : one))
      .join(" ");
  const shingles = (text: string) => {
    const words = wordsOf(text);
    return new Set(words.slice(4).map((_, i) => words.slice(i, i + 5).join(" ")));
  };
  const jaccard = (a: string, b: string) => {
    const [left, right] = [shingles(a), shingles(b)];
    const both = [...left].filter((one) => right.has(one)).length;
    return both / (left.size + right.size - both);
  };

  it("estimates the Jaccard similarity of runs of words", () => {
    const options = { shingle: 5, hashes: 2048 };
    for (const share of [0, 0.01, 0.05, 0.2, 1]) {
      const text = prose(40);
      const other = changed(text, share);
      const estimate = similarity(minHash(text, options), minHash(other, options));
      expect(Math.abs(estimate - jaccard(text, other))).toBeLessThan(0.06); // five standard deviations at the worst
    }
  });

  it("finds what is above the threshold and keeps what is below", () => {
    const texts = Array.from({ length: 60 }, () => prose(20));
    const near = texts.map((text) => changed(text, 0.005));
    const far = texts.map((text) => changed(text, 0.2));
    for (const [i, text] of texts.entries()) {
      expect(jaccard(text, near[i] as string)).toBeGreaterThan(0.75);
      expect(jaccard(text, far[i] as string)).toBeLessThan(0.5);
    }
    const verdicts = judge(nearDuplicates({ threshold: 0.65 }), ...texts, ...near, ...far);
    const dropped = (from: number) => verdicts.slice(from, from + 60).filter((reason) => reason !== undefined).length;
    expect([dropped(0), dropped(120)]).toEqual([0, 0]);
    expect(dropped(60)).toBeGreaterThan(57);
  });

  it("knows by default what a person would call a copy of a page, and no more", async () => {
    const words = (await corpus("moby-dick")).split(/(?<=\s)/).slice(8000);
    const page = (i: number) => words.slice(150 * i, 150 * (i + 1)).join("");
    const pages = Array.from({ length: 100 }, (_, i) => page(i));
    const changed = (share: number) => (text: string) =>
      text
        .split(/(?<=\s)/)
        .map((one) => (random.uniform() < share ? (words[random.below(words.length)] as string) : one))
        .join("");
    const drops = (edit: (text: string, i: number) => string) => {
      const [first, second] = [pages, pages.map(edit)];
      const verdicts = judge(nearDuplicates(), ...first, ...second).map((reason) => reason !== undefined);
      expect(verdicts.slice(0, pages.length)).not.toContain(true);
      return verdicts.slice(pages.length).filter(Boolean).length;
    };
    expect(drops((text) => text)).toBe(100);
    expect(drops((text) => text.toUpperCase().replace(/[,;.]/g, "").replace(/\s+/g, "\n"))).toBe(100);
    expect(drops((text) => `Project Gutenberg, page 12 of the novel\n${text}\nCopyright 2001 by nobody`)).toBeGreaterThan(97);
    expect(
      drops((text) =>
        text
          .split(/(?<=\s)/)
          .slice(15)
          .join(""),
      ),
    ).toBeGreaterThan(97);
    expect(drops(changed(0.01))).toBeGreaterThan(95);
    expect(drops(changed(0.2))).toBe(0);
    expect(drops((text, i) => text.slice(0, text.length / 2) + page(200 + i).slice(0, text.length / 2))).toBe(0);
    expect(drops((_, i) => page(200 + i))).toBe(0);
  });

  it("compares texts without letters, and very short ones, by their signs", () => {
    const dropped = (...texts: readonly string[]) => judge(nearDuplicates(), ...texts).map((reason) => reason !== undefined);
    expect(dropped("🐳 🐳 🐳 🐳 🐳", "🚢 🚢 🚢 🚢 🚢", "Really?", "Really!", "2 + 2", "2 - 2")).not.toContain(true);
  });

  it("takes short and empty texts as they are", () => {
    expect(judge(nearDuplicates(), "a b", "a b", "b a", "", "").map((reason) => reason !== undefined)).toEqual([
      false,
      true,
      false,
      false,
      true,
    ]);
  });

  it("cuts signatures into bands whose threshold is the one asked for", () => {
    for (const threshold of [0.5, 0.7, 0.8, 0.9]) {
      const { bands, rows } = bandsFor(threshold, 128);
      expect(bands * rows).toBeLessThanOrEqual(128);
      const proposed = (similarity: number) => 1 - (1 - similarity ** rows) ** bands;
      expect(proposed(threshold)).toBeGreaterThan(0.8);
      expect(proposed(Math.min(1, threshold + 0.05))).toBeGreaterThan(0.94);
      expect(proposed(threshold / 2)).toBeLessThan(0.15);
    }
    expect(() => nearDuplicates({ threshold: 0 })).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });
});

describe("filtered", () => {
  const texts = ["long enough", "short", "long enough", "also long enough", "tiny", "long enough"];
  const source = () => datasetOf(texts.map((text): Example => ({ kind: "text", text })));
  const filters = [lengthFilter({ minimum: 6 }), exactDuplicates()];
  const all = async (data: ReturnType<typeof filtered>, from?: Position) => {
    const kept: string[] = [];
    for await (const example of data.open(from)) kept.push((example as TextExample).text);
    return kept;
  };

  it("reports what each filter dropped, and why", async () => {
    const data = filtered(source(), filters);
    expect(await all(data)).toEqual(["long enough", "also long enough"]);
    expect(data.reports).toMatchObject([
      { filter: "length", seen: 6, dropped: 2, samples: [{ excerpt: "short" }, { excerpt: "tiny" }] },
      { filter: "exact-duplicates", seen: 4, dropped: 2 },
    ]);
    expect(describeReports(data.reports).join("\n")).toMatch(
      /length: 2 of 6 dropped\n {2}2 × fewer than 6 characters\n {4}"short".*\n.*\nexact/,
    );
  });

  it.each([
    ["that remember", filters],
    ["that do not", filters.slice(0, 1)],
  ])("goes on from anywhere with filters %s", async (_, used) => {
    const whole = await all(filtered(source(), used));
    const cursor = filtered(source(), used).open();
    for (let i = 0; i <= whole.length; i++) {
      expect(await all(filtered(source(), used), JSON.parse(JSON.stringify(cursor.position())) as Position)).toEqual(
        whole.slice(i),
      );
      await cursor.next();
    }
  });

  it("keeps all pieces of a long document", async () => {
    const pieces: Example[] = [
      { kind: "text", text: "a", continues: true },
      { kind: "text", text: "b" },
      { kind: "text", text: "c" },
    ];
    expect(await all(filtered(datasetOf(pieces), filters))).toEqual(["a", "b"]);
  });
});
