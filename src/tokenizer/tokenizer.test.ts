import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { byteLevelPreTokenizer, Tokenizer as RustTokenizer } from "tokenizers";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { loadChatTemplate } from "../chat/index.js";
import { loadTokenizer, type Tokenizer, tokenizerFromJson, trainTokenizer } from "./index.js";

const specialTokens = ["<|endoftext|>", "<|user|>"];
const trainingText = `It was the best of times, it was the worst of times; it was the age of wisdom...
  'Tis the season: we'll see, they've said, I'm 42 -- naïve café, größer, 東京タワー, Москва 🐋🐋 👩‍👩‍👧\r\n\t\u0085x\uFEFFy`.repeat(
  3,
);

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc
    .array(
      fc.constantFrom(
        "the ",
        " was",
        "times",
        "'ll",
        " ",
        "\n",
        "\r\n",
        "\t",
        "\u0085",
        "\uFEFF",
        "🐋",
        "東京",
        "<|user|>",
        "<|",
        "|>",
      ),
    )
    .map((words) => words.join("")),
);

const toRust = (tokenizer: Tokenizer) => RustTokenizer.fromString(JSON.stringify(tokenizer));
const rustIds = async (rust: RustTokenizer, text: string) =>
  (await rust.encode(text, null, { addSpecialTokens: false })).getIds();

/** Whether Rust's Unicode tables, which may be older or newer than this Node's, have `character` in the same class. */
function sameClassInRust(character: string): boolean {
  const joins = (other: string) => rustPreTokenizer.preTokenizeString(other + character).length === 1;
  return joins("a") === /\p{L}/u.test(character) && joins("1") === /\p{N}/u.test(character);
}
const rustPreTokenizer = byteLevelPreTokenizer(false, true);

/** What both kinds of tokenizer owe; `anyText` has texts that the tokenizer must be able to encode. */
function behavesLikeATokenizer(train: () => Promise<Tokenizer>, anyText: fc.Arbitrary<string>): void {
  let tokenizer: Tokenizer;
  let rust: RustTokenizer;
  beforeAll(async () => {
    tokenizer = await train();
    rust = toRust(tokenizer);
  });
  const anyIds = () => fc.array(fc.nat({ max: tokenizer.vocabSize - 1 }));

  it("decodes what it encoded", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
    );
  });

  it("gives the ids and the text that Rust's tokenizers gives", async () => {
    await fc.assert(
      fc.asyncProperty(anyText, async (text) => {
        fc.pre([...text].every(sameClassInRust));
        const ids = [...tokenizer.encode(text)];
        expect(ids).toEqual(await rustIds(rust, text));
        expect(await rust.decode(ids, false)).toBe(text);
      }),
    );
  });

  it("streams any ids as whole characters that join to their decoding", () => {
    fc.assert(
      fc.property(anyIds(), fc.boolean(), (ids, skipSpecialTokens) => {
        const stream = tokenizer.decodeStream({ skipSpecialTokens });
        const pieces = [...ids.map((id) => stream.push(id)), stream.end()];
        expect(pieces.join("")).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
        for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
      }),
    );
  });

  it("streams the ids of a text without a replacement character that is not in it", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        fc.pre(!text.includes("\uFFFD"));
        const stream = tokenizer.decodeStream();
        expect([...tokenizer.encode(text)].map((id) => stream.push(id)).join("")).toBe(text);
        expect(stream.end()).toBe("");
      }),
    );
  });

  it("counts the bytes of a text, and splits them where ids are split", () => {
    fc.assert(
      fc.property(anyText, fc.nat(), (text, at) => {
        const ids = tokenizer.encode(text);
        const bytes = new TextEncoder().encode(text).length;
        expect(tokenizer.byteLength(ids)).toBe(bytes);
        const cut = at % (ids.length + 1);
        expect(tokenizer.byteLength(ids.subarray(0, cut)) + tokenizer.byteLength(ids.subarray(cut))).toBe(bytes);
      }),
    );
  });

  it("knows each token by its id", () => {
    for (let id = 0; id < tokenizer.vocabSize; id++) expect(tokenizer.tokenToId(tokenizer.idToToken(id) as string)).toBe(id);
    expect(tokenizer.idToToken(tokenizer.vocabSize)).toBeUndefined();
    expect(tokenizer.tokenToId("no such token")).toBeUndefined();
  });

  it("takes special tokens whole, first in the vocabulary, and leaves them out of a text when asked", () => {
    expect(tokenizer.specialTokens).toEqual(specialTokens);
    expect([...tokenizer.encode("<|user|>a<|endoftext|>")]).toEqual([1, tokenizer.tokenToId("a"), 0]);
    expect(tokenizer.decode([1, tokenizer.tokenToId("a") as number, 0])).toBe("<|user|>a<|endoftext|>");
    expect(tokenizer.decode([1, tokenizer.tokenToId("a") as number, 0], { skipSpecialTokens: true })).toBe("a");
  });

  it("decodes ids without a token to nothing", () => {
    const a = tokenizer.tokenToId("a") as number;
    expect(tokenizer.decode([a, tokenizer.vocabSize, -100, a])).toBe("aa");
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.encode("")).toEqual(new Int32Array(0));
  });

  it("replaces lone surrogates, which no file can hold", () => {
    expect(tokenizer.decode(tokenizer.encode("a\uD83D"))).toBe("a\uFFFD");
  });
}

describe("a byte-level tokenizer", () => {
  behavesLikeATokenizer(() => trainTokenizer(trainingText, { model: "bpe", vocabSize: 330, specialTokens }), anyText);

  it("encodes long texts by pieces as the library encodes them whole", async () => {
    const tokenizer = await trainTokenizer(trainingText, { model: "bpe", vocabSize: 330 });
    const long = trainingText.repeat(200);
    expect([...tokenizer.encode(long)]).toEqual(await rustIds(toRust(tokenizer), long));
  });
});

describe("a character tokenizer", () => {
  const characters = [...new Set(`${trainingText}<|user|>\uFFFD`)];
  behavesLikeATokenizer(
    () => trainTokenizer(characters.join(""), { model: "character", specialTokens }),
    fc.array(fc.constantFrom(...characters, ...specialTokens)).map((all) => all.join("")),
  );

  it("refuses a character that it does not know, naming it and its place", async () => {
    const tokenizer = await trainTokenizer("abc", { model: "character", specialTokens: ["<s>"] });
    expect(() => tokenizer.encode("ab<s>🐋")).toThrow(
      expect.objectContaining({ code: "TOKENIZER", message: expect.stringMatching(/"🐋" \(U\+1F40B\) at offset 5/) }),
    );
    expect([...tokenizer.encode("cab")]).toEqual([3, 1, 2]); // and goes on as before
  });
});

describe("loadTokenizer", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tsumiki-tokenizer-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("carries the chat template, wherever the folder has it, and leaves no other one beside it", async () => {
    const [from, to] = [join(folder, "chat"), join(folder, "copy of chat")];
    await (await trainTokenizer("the whale", { model: "bpe", vocabSize: 260 })).save(from);
    expect((await loadTokenizer(from)).config).not.toHaveProperty("chat_template");
    await writeFile(join(from, "chat_template.jinja"), "{{ messages }}");
    const { config } = await loadTokenizer(from);
    expect(config).toMatchObject({ chat_template: "{{ messages }}" });
    await mkdir(to);
    await writeFile(join(to, "chat_template.jinja"), "of another tokenizer");
    await (await loadTokenizer(from)).save(to);
    expect(await readFile(join(to, "chat_template.jinja"), "utf8")).toBe("{{ messages }}");
    expect((await loadTokenizer(to)).config).toEqual(config);

    await mkdir(join(from, "additional_chat_templates"));
    await writeFile(join(from, "additional_chat_templates", "tool_use.jinja"), "{{ tools }}");
    await rm(to, { recursive: true });
    await (await loadTokenizer(from)).save(to);
    expect((await readdir(to)).sort()).toEqual(["tokenizer.json", "tokenizer_config.json"]);
    expect((await loadTokenizer(to)).config).toEqual({
      ...config,
      chat_template: [
        { name: "default", template: "{{ messages }}" },
        { name: "tool_use", template: "{{ tools }}" },
      ],
    });
    expect(await loadChatTemplate(to)).toMatchObject({ source: "{{ messages }}", toolUse: { source: "{{ tools }}" } });
  });

  it.each(["bpe", "character"] as const)("opens what save wrote (%s)", async (model) => {
    const tokenizer = await trainTokenizer(trainingText, { model, vocabSize: 300, specialTokens });
    await tokenizer.save(join(folder, "run", "tokenizer"));
    for (const source of [join(folder, "run", "tokenizer"), join(folder, "run", "tokenizer", "tokenizer.json")]) {
      const loaded = await loadTokenizer(source);
      expect(loaded.toJSON()).toEqual(tokenizer.toJSON());
      expect(loaded.encode(trainingText)).toEqual(tokenizer.encode(trainingText));
    }
    expect(JSON.parse(await readFile(join(folder, "run", "tokenizer", "tokenizer_config.json"), "utf8"))).toMatchObject({
      tokenizer_class: "PreTrainedTokenizerFast",
    });
  });

  it("keeps what it does not read of the files", async () => {
    const json = { ...(await trainTokenizer("abab", { model: "bpe", vocabSize: 257 })).toJSON(), note: 1 };
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(json));
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify({ chat_template: "{{ x }}" }));
    const copy = join(folder, "copy");
    await (await loadTokenizer(folder)).save(copy);
    expect(JSON.parse(await readFile(join(copy, "tokenizer.json"), "utf8"))).toEqual(json);
    expect(JSON.parse(await readFile(join(copy, "tokenizer_config.json"), "utf8"))).toEqual({ chat_template: "{{ x }}" });
  });

  it("says what is wrong with what it cannot open", async () => {
    await expect(loadTokenizer(join(folder, "absent"))).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringContaining("absent"),
    });
    await mkdir(join(folder, "half"));
    await writeFile(join(folder, "half", "tokenizer.json"), '{"model": {');
    await expect(loadTokenizer(join(folder, "half"))).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringContaining("truncated"),
    });
    await writeFile(join(folder, "half", "tokenizer.json"), '{"hello": 1}');
    await expect(loadTokenizer(join(folder, "half"))).rejects.toMatchObject({
      code: "TOKENIZER",
      message: expect.stringContaining("model"),
    });
  });
});

describe("tokenizerFromJson", () => {
  it("takes tokenizers of other kinds too, which it encodes whole", async () => {
    const added_tokens = [{ id: 6, content: "<mask>", lstrip: true, special: true }];
    const vocab = { a: 0, b: 1, "▁": 2, ab: 3, "▁ab": 4, "<unk>": 5 };
    const merges = ["a b", "▁ ab"];
    const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true };
    const tokenizer = tokenizerFromJson({
      added_tokens,
      pre_tokenizer: metaspace,
      decoder: metaspace,
      model: { type: "BPE", vocab, merges, unk_token: "<unk>", fuse_unk: false },
    });
    expect(tokenizer.vocabSize).toBe(7);
    expect([...tokenizer.encode("ab ba <mask>")]).toEqual([4, 2, 1, 0, 6]);
    expect(tokenizer.decode(tokenizer.encode("ab ba"))).toBe("ab ba");
    const stream = tokenizer.decodeStream();
    expect([...tokenizer.encode("ab ab ba")].map((id) => stream.push(id)).join("")).toBe("ab ab ba");
  });

  it("refuses a model that the library does not know", () => {
    expect(() => tokenizerFromJson({ model: { type: "Oracle", vocab: {} } })).toThrow(
      expect.objectContaining({ code: "TOKENIZER" }),
    );
  });
});
