import { describe, expect, it } from "vitest";
import { type TokenizerTraining, trainTokenizer } from "./index.js";

const texts = ["blue birds fly up.", "red apples fall down!", "naïve 鲸鱼 🐳 swims", "odd \uFFFD one"];

describe.each<[string, TokenizerTraining]>([
  ["unigram", { model: "unigram", vocabSize: 60 }],
  ["wordpiece", { model: "wordpiece", vocabSize: 90 }],
  ["bytes", { model: "bpe", vocabSize: 270 }],
  ["characters with ends of words", { model: "bpe", level: "character", vocabSize: 70 }],
])("a stream that continues a prompt: %s", (_, options) => {
  it("gives prompt and continuation the decoding of all ids, wherever the prompt ends", async () => {
    const tokenizer = await trainTokenizer(texts.join("\n").repeat(5), options);
    for (const text of texts) {
      const ids = [...tokenizer.encode(text)];
      for (let cut = 0; cut <= ids.length; cut++) {
        const prompt = ids.slice(0, cut);
        const stream = tokenizer.decodeStream({ after: prompt });
        const pieces = ids.slice(cut).map((id) => stream.push(id));
        const before = tokenizer.decode(prompt);
        const shown = text.startsWith(before) ? before : before.replace(/\uFFFD+$/, "");
        if (cut < ids.length) expect(shown + pieces.join("") + stream.end()).toBe(tokenizer.decode(ids));
        else expect(stream.end()).toBe("");
      }
    }
  });
});

it("an end of text among the special tokens is the tokenizer's own", async () => {
  const ended = await trainTokenizer("the whale", { model: "bpe", vocabSize: 270, specialTokens: ["<|endoftext|>"] });
  expect(ended.config.eos_token).toBe("<|endoftext|>");
  expect(ended.roleIds).toEqual({ eos: 0 });
  const plain = await trainTokenizer("the whale", { model: "bpe", vocabSize: 270 });
  expect(plain.roleIds).toEqual({});
  const preset = await trainTokenizer("the whale", { model: "bpe", vocabSize: 300, preset: "minimind" });
  expect(preset.roleIds).toEqual({ bos: 1, eos: 2, pad: 0, unk: 0 });
});
