import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Tokenizer, tokenizerFromJson, trainTokenizer } from "../tokenizer/index.js";
import golden from "./golden/templates.json" with { type: "json" };
import {
  assistantSpans,
  type ChatTemplate,
  type Conversation,
  chatTemplate,
  chatTemplates,
  encodeConversation,
  loadChatTemplate,
  renderConversation,
} from "./index.js";

const conversations = golden.conversations as unknown as Record<string, Conversation>;
const spoken = (template: ChatTemplate, conversation: Conversation, options = {}): string[] => {
  const { text, spans } = assistantSpans(template, conversation, options);
  return spans.map(([start, end]) => text.slice(start, end));
};
const withoutMarks = (source: string): string => source.replaceAll(/\{%-? *(end)?generation *-?%\}/g, "");

describe("assistantSpans by diffing", () => {
  it.each(["chatml", "llama3", "gemma", "minimind"] as const)("%s: what its marks say", (name) => {
    const marked = chatTemplate(chatTemplates[name], golden.variables);
    const plain = chatTemplate(withoutMarks(chatTemplates[name]), {
      ...golden.variables,
      turn: "<|im_end|>",
      eot: "<|eot_id|>",
      end: "<end_of_turn>",
    });
    expect(plain.marksGeneration).toBe(false);
    const compared = ["two turns", "system and thoughts", "a tool", "two tools at once"].filter((conversation) => {
      const { plain: expected } = golden.own[name][conversation as "two turns"] as { plain: { text?: string } };
      return expected.text !== undefined;
    });
    expect(compared.length).toBeGreaterThan(0);
    for (const conversation of compared) {
      const marks = spoken(marked, conversations[conversation] as Conversation);
      // MiniMind's generation prompt has begun the answer with an empty thought; there the marks take in what the prompt has given.
      const given = name === "minimind" ? "<think>\n\n</think>\n\n" : "";
      const expected = marks.map((words) =>
        words.startsWith(given) ? words.slice(given.length) : words.slice("<think>\n".length),
      );
      expect(spoken(plain, conversations[conversation] as Conversation), conversation).toEqual(given ? expected : marks);
    }
  });

  it("qwen3, which drops earlier thoughts", () => {
    const plain = chatTemplate(withoutMarks(chatTemplates.qwen3), { eos_token: "<|im_end|>" });
    const marked = chatTemplate(chatTemplates.qwen3);
    for (const name of ["two turns", "system and thoughts", "thoughts in the content", "a tool", "two tools at once"])
      expect(spoken(plain, conversations[name] as Conversation), name).toEqual(
        spoken(marked, conversations[name] as Conversation),
      );
    expect(spoken(plain, conversations["system and thoughts"] as Conversation)).toEqual([
      "4<|im_end|>",
      "<think>\nThat is six.\n</think>\n\n6<|im_end|>",
    ]);
  });

  it("templates that refuse unfinished conversations, or hide a turn", () => {
    const strict = chatTemplate(
      "{% if messages | length < 4 %}{{ raise_exception('more') }}{% endif %}{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}",
    );
    expect(spoken(strict, conversations["two turns"] as Conversation)).toEqual(["Hi there! 你好 🐋\n", "Fine.]"]);
    const hiding = chatTemplate("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}");
    expect(spoken(hiding, conversations["two turns"] as Conversation)).toEqual([]);
  });
});

describe("encodeConversation", () => {
  const specialTokens = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"];
  let bytes: Tokenizer;
  let characters: Tokenizer;
  beforeAll(async () => {
    const text = JSON.stringify(golden.conversations) + chatTemplates.qwen3;
    bytes = await trainTokenizer(text, { model: "bpe", vocabSize: 500, specialTokens });
    characters = await trainTokenizer("The 2+2?46 <|im_start|>asoverkd\nybrfw.T/thinklcgmuW,S'", {
      model: "character",
      specialTokens,
    });
  });

  it("marks the assistant's tokens, its end of turn among them, and no other", () => {
    const template = chatTemplate(chatTemplates.qwen3);
    for (const name of ["two turns", "system and thoughts", "a tool", "two tools at once"]) {
      const conversation = conversations[name] as Conversation;
      const { text, ids, assistantMask } = encodeConversation(bytes, template, conversation);
      expect(bytes.decode(ids)).toBe(text);
      expect(assistantMask).toHaveLength(ids.length);
      const pieces: string[] = [];
      for (const [i, id] of ids.entries()) {
        if (!assistantMask[i]) continue;
        if (i === 0 || !assistantMask[i - 1]) pieces.push("");
        pieces.push((pieces.pop() as string) + bytes.idToToken(id));
      }
      const expected = spoken(template, conversation).map((words) =>
        [...bytes.encode(words)].map((id) => bytes.idToToken(id)).join(""),
      );
      expect(pieces, name).toEqual(expected);
    }
  });

  it.each(Object.entries(golden.masks))(
    "gives the ids and the mask that transformers gives: %s",
    (_, { tokenizer: json, encoded }) => {
      const tokenizer = tokenizerFromJson(json);
      const template = chatTemplate(chatTemplates.qwen3);
      for (const [name, expected] of Object.entries(encoded)) {
        const { ids, assistantMask } = encodeConversation(tokenizer, template, conversations[name] as Conversation);
        expect([...ids], name).toEqual(expected.ids);
        expect([...assistantMask], name).toEqual(expected.assistantMask);
      }
    },
  );

  it("counts in characters too, and takes a prompt", () => {
    const template = chatTemplate(chatTemplates.chatml);
    const conversation = {
      messages: [
        { role: "user", content: "2+2?" },
        { role: "assistant", content: "4" },
      ],
    } as const;
    const { ids, assistantMask } = encodeConversation(characters, template, conversation);
    expect([...ids].map((id, i) => (assistantMask[i] ? characters.idToToken(id) : "")).join("")).toBe("4<|im_end|>");
    const prompt = encodeConversation(
      bytes,
      template,
      { messages: [{ role: "user", content: "?" }] },
      { addGenerationPrompt: true },
    );
    expect(prompt.text).toMatch(/<\|im_start\|>assistant\n$/);
    expect(prompt.assistantMask.some((marked) => marked !== 0)).toBe(false);
  });
});

describe("loadChatTemplate", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tsumiki-template-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  const directory = async (name: string, files: Record<string, string>): Promise<string> => {
    await mkdir(join(folder, name, "additional_chat_templates"), { recursive: true });
    for (const [file, content] of Object.entries(files)) await writeFile(join(folder, name, file), content);
    return join(folder, name);
  };

  it("finds a template in its file or in the config, with special tokens", async () => {
    const config = {
      chat_template: "from the config {{ bos_token }}",
      bos_token: { content: "<s>", special: true },
      eos_token: "</s>",
      pad_token: null,
    };
    const inConfig = await loadChatTemplate(await directory("config", { "tokenizer_config.json": JSON.stringify(config) }));
    expect(inConfig).toMatchObject({ source: config.chat_template, variables: { bos_token: "<s>", eos_token: "</s>" } });
    const files = { "tokenizer_config.json": JSON.stringify(config), "chat_template.jinja": "from the file" };
    expect(await loadChatTemplate(await directory("file", files))).toMatchObject({ source: "from the file" });
    const several = {
      chat_template: [
        { name: "default", template: "a" },
        { name: "tool_use", template: "b" },
      ],
    };
    expect(await loadChatTemplate(await directory("list", { "tokenizer_config.json": JSON.stringify(several) }))).toMatchObject({
      source: "a",
      toolUse: { source: "b" },
    });
    const additional = { "chat_template.jinja": "a", "additional_chat_templates/tool_use.jinja": "c" };
    expect(await loadChatTemplate(await directory("additional", additional))).toMatchObject({ toolUse: { source: "c" } });
  });

  it("says where there is none, or what cannot be read", async () => {
    await expect(loadChatTemplate(await directory("none", {}))).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("no chat template in"),
    });
    await expect(loadChatTemplate(await directory("cut", { "tokenizer_config.json": '{"chat' }))).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("not JSON"),
    });
    await expect(loadChatTemplate(await directory("bad", { "chat_template.jinja": "{% if %}" }))).rejects.toMatchObject({
      code: "CONFIG",
    });
  });
});

describe("what the masks of templates without marks take in", () => {
  const messages = (...said: readonly string[]) =>
    said.map((content, i) => ({ role: i % 2 === 0 ? ("user" as const) : ("assistant" as const), content }));

  it("ends before the next turn, where the text goes on as the end of the conversation does", () => {
    const phi3 =
      "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}";
    const template = chatTemplate(phi3, { eos_token: "<|endoftext|>" });
    expect(spoken(template, { messages: messages("hello", "fine", "how", "thanks") })).toEqual([
      "fine<|end|>\n",
      "thanks<|end|>\n<|endoftext|>",
    ]);
  });

  it("is an earlier answer without its thought, where the prompt begins one that the template leaves out later", () => {
    const source =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' and not loop.last %}" +
      "{{ '<think></think>' + m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}";
    const template = chatTemplate(source, { eos_token: "<|im_end|>" });
    expect(spoken(template, { messages: messages("1", "<think>a</think>one", "2", "<think>b</think>two") })).toEqual([
      "one<|im_end|>",
      "<think>b</think>two<|im_end|>",
    ]);
  });

  it("is an error where nothing of the assistant is left, and leaves out turns of weight 0", async () => {
    const tokenizer = await trainTokenizer("hello there how are you fine thanks", { model: "bpe", vocabSize: 280 });
    const silent = chatTemplate("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}");
    const conversation = { messages: messages("hello", "fine") };
    expect(() => encodeConversation(tokenizer, silent, conversation, { place: "chats.jsonl, line 3" })).toThrow(
      /chats\.jsonl, line 3: the template shows nothing of what the assistant says, so there is nothing to learn/,
    );
    const weighted = { messages: messages("hello", "5", "sure?", "4").map((m) => (m.content === "5" ? { ...m, weight: 0 } : m)) };
    for (const source of [chatTemplates.chatml, withoutMarks(chatTemplates.chatml)])
      expect(spoken(chatTemplate(source, golden.variables), weighted).map((said) => said.trim())).toEqual(["4<|im_end|>"]);
  });
});

describe("strip with characters", () => {
  it.each([
    ["{{ x.strip('\\n') }}", "\n  a b \n", "  a b "],
    ["{{ x.lstrip('ab') }}", "abcab", "cab"],
    ["{{ x.rstrip('ab') }}", "abcab", "abc"],
    ["{{ x.strip() }}", "\u0085\u001fa\ufeff ", "a\ufeff"],
    ["{{ x.strip(none) }}", " a ", "a"],
    ["{{ x.strip('😀') }}", "😀a😀", "a"],
  ])("%s of %j is %j, as in Python", (source, x, expected) => {
    const template = chatTemplate(`{% set x = messages[0].content %}${source}`);
    const conversation = {
      messages: [
        { role: "user" as const, content: x },
        { role: "assistant" as const, content: "-" },
      ],
    };
    expect(renderConversation(template, conversation)).toBe(expected);
  });
});
