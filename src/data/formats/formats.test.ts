import { describe, expect, it } from "vitest";
import type { Example } from "../example.js";
import { FieldProblem } from "./field-problem.js";
import { recognizeFormat } from "./formats.js";

const user = (content: string) => ({ role: "user", content }) as const;
const assistant = (content: string) => ({ role: "assistant", content }) as const;
const call = { name: "weather", arguments: { city: "Paris" } };

/** [what it is, a row, its format, what it means] */
const rows: readonly (readonly [string, object, string, Example])[] = [
  ["plain text", { text: "Call me Ishmael.", id: 3 }, "text", { kind: "text", text: "Call me Ishmael." }],
  ["text called content", { content: "a", url: "b" }, "text", { kind: "text", text: "a" }],
  [
    "a prompt and its completion",
    { prompt: "2+2?", completion: "4" },
    "prompt-completion",
    { kind: "conversation", messages: [user("2+2?"), assistant("4")] },
  ],
  [
    "turns as prompt and completion: of the prompt nothing is learned",
    { prompt: [user("a"), assistant("b"), user("c")], completion: [assistant("d")] },
    "prompt-completion",
    { kind: "conversation", messages: [user("a"), { ...assistant("b"), weight: 0 }, user("c"), assistant("d")] },
  ],
  [
    "a question and its answer",
    { question: "Why?", answer: "So." },
    "prompt-completion",
    { kind: "conversation", messages: [user("Why?"), assistant("So.")] },
  ],
  [
    "an answer that is rated",
    { prompt: "2+2?", completion: "5", label: false },
    "rated",
    { kind: "rated", messages: [user("2+2?"), assistant("5")], label: false },
  ],
  [
    "a rating as CSV spells it",
    { prompt: "2+2?", completion: "5", label: "False" },
    "rated",
    { kind: "rated", messages: [user("2+2?"), assistant("5")], label: false },
  ],
  [
    "a rating as a number",
    { messages: [user("2+2?"), assistant("4")], label: 1 },
    "rated",
    { kind: "rated", messages: [user("2+2?"), assistant("4")], label: true },
  ],
  [
    "turns that are not to be learned, an older call, a call without arguments, a tool that says nothing",
    {
      messages: [
        user("2+2?"),
        { ...assistant("5"), weight: 0 },
        user("Clean up."),
        { role: "assistant", content: null, function_call: { name: "rm", arguments: "" } },
        { role: "function", name: "rm", content: "" },
        { ...assistant("Done."), thinking: "It is." },
      ],
    },
    "messages",
    {
      kind: "conversation",
      messages: [
        user("2+2?"),
        { ...assistant("5"), weight: 0 },
        user("Clean up."),
        { ...assistant(""), tool_calls: [{ type: "function", function: { name: "rm", arguments: {} } }] },
        { role: "tool", name: "rm", content: "" },
        { ...assistant("Done."), reasoning_content: "It is." },
      ],
    },
  ],
  [
    "OpenAI's messages with tools",
    {
      messages: [
        { role: "system", content: "Be kind." },
        {
          role: "user",
          content: [
            { type: "text", text: "Weather " },
            { type: "text", text: "in Paris?" },
          ],
        },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "c1", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } }],
        },
        { role: "tool", content: "12 °C", tool_call_id: "c1" },
        { role: "assistant", content: "12 °C.", reasoning_content: "The tool says so." },
      ],
      tools: [{ type: "function", function: { name: "weather" } }],
    },
    "messages",
    {
      kind: "conversation",
      messages: [
        { role: "system", content: "Be kind." },
        user("Weather in Paris?"),
        { role: "assistant", content: "", tool_calls: [{ id: "c1", type: "function", function: call }] },
        { role: "tool", content: "12 °C", tool_call_id: "c1" },
        { role: "assistant", content: "12 °C.", reasoning_content: "The tool says so." },
      ],
      tools: [{ type: "function", function: { name: "weather" } }],
    },
  ],
  [
    "MiniMind's conversations, with tools and calls as JSON inside texts",
    {
      conversations: [
        { role: "system", content: "", tools: '[{"type":"function","function":{"name":"weather"}}]' },
        { role: "user", content: "天气？" },
        { role: "assistant", content: "", tool_calls: '[{"name":"weather","arguments":{"city":"Paris"}}]' },
        { role: "tool", content: "12 °C" },
        { role: "assistant", content: "12 °C。", reasoning_content: "" },
      ],
    },
    "conversations",
    {
      kind: "conversation",
      messages: [
        { role: "system", content: "" },
        user("天气？"),
        { role: "assistant", content: "", tool_calls: [{ type: "function", function: call }] },
        { role: "tool", content: "12 °C" },
        assistant("12 °C。"),
      ],
      tools: [{ type: "function", function: { name: "weather" } }],
    },
  ],
  [
    "ShareGPT's conversations",
    {
      system: "Be brief.",
      conversations: [
        { from: "human", value: "Hi" },
        { from: "function_call", value: '{"name": "weather", "arguments": {"city": "Paris"}}' },
        { from: "observation", value: "12" },
        { from: "gpt", value: "Hello" },
      ],
    },
    "conversations",
    {
      kind: "conversation",
      messages: [
        { role: "system", content: "Be brief." },
        user("Hi"),
        { role: "assistant", content: "", tool_calls: [{ type: "function", function: call }] },
        { role: "tool", content: "12" },
        assistant("Hello"),
      ],
    },
  ],
  [
    "Alpaca with an input and a history",
    { instruction: "Translate.", input: "chat", output: "cat", history: [["Hi", "Hello"]] },
    "alpaca",
    { kind: "conversation", messages: [user("Hi"), assistant("Hello"), user("Translate.\n\nchat"), assistant("cat")] },
  ],
  [
    "Alpaca without",
    { instruction: "Say hi.", input: "", output: "hi" },
    "alpaca",
    { kind: "conversation", messages: [user("Say hi."), assistant("hi")] },
  ],
  [
    "preferences as texts",
    { prompt: "2 + 2?", chosen: "4", rejected: "5" },
    "preference",
    { kind: "preference", prompt: [user("2 + 2?")], chosen: [assistant("4")], rejected: [assistant("5")] },
  ],
  [
    "preferences whose prompt is what they begin with alike (MiniMind)",
    { chosen: [user("2 + 2?"), assistant("4")], rejected: [user("2 + 2?"), assistant("5")] },
    "preference",
    { kind: "preference", prompt: [user("2 + 2?")], chosen: [assistant("4")], rejected: [assistant("5")] },
  ],
  [
    "preferences that repeat their prompt (UltraFeedback)",
    { prompt: "2 + 2?", chosen: [user("2 + 2?"), assistant("4")], rejected: [user("2 + 2?"), assistant("5")] },
    "preference",
    { kind: "preference", prompt: [user("2 + 2?")], chosen: [assistant("4")], rejected: [assistant("5")] },
  ],
  ["a class", { text: "Good!", label: 1 }, "classification", { kind: "classification", text: "Good!", label: 1 }],
  [
    "a class of two sentences",
    { sentence1: "A cat.", sentence2: "An animal.", label: "entailment", idx: 0 },
    "classification",
    { kind: "classification", text: "A cat.", secondText: "An animal.", label: "entailment" },
  ],
  [
    "words with tags",
    { id: 1, tokens: ["The", "whale"], ner_tags: [0, 4] },
    "token-labels",
    { kind: "token-labels", tokens: ["The", "whale"], labels: [0, 4] },
  ],
];

describe("a row", () => {
  it.each(rows)("that is %s is recognized and understood", (_, row, name, example) => {
    const format = recognizeFormat(row);
    expect(format?.name).toBe(name);
    expect(format?.kind).toBe(example.kind);
    expect(format?.parse(row as Record<string, unknown>)).toEqual(example);
  });

  it.each([{ title: "a" }, {}, [], 5, null, "text"])("%j is of no known format", (row) => {
    expect(recognizeFormat(row)).toBeUndefined();
  });

  /** [what is wrong, a row, the field, the problem] */
  it.each([
    ["an empty document", { text: "" }, "text", /empty/],
    ["a blank document", { text: " \n" }, "text", /blank/],
    ["a number for a text", { text: 5 }, "text", /is 5, expected a text/],
    ["a NUL character", { text: "ab\0c" }, "text", /NUL character at place 2/],
    ["half of a surrogate pair", { text: "a\uD83Db" }, "text", /surrogate pair at place 1/],
    ["a conversation that is no list", { conversations: "Hi" }, "conversations", /is "Hi", expected a list/],
    ["a conversation without turns", { messages: [] }, "messages", /empty list/],
    [
      "an unknown role",
      { messages: [user("a"), { role: "narrator", content: "b" }] },
      "messages[1].role",
      /is "narrator", expected one of/,
    ],
    ["no role", { messages: [{ content: "a" }] }, "messages[0].role", /is nothing/],
    ["the assistant first", { messages: [assistant("a"), user("b")] }, "messages[0]", /starts with the assistant/],
    [
      "a tool first",
      { messages: [{ role: "tool", content: "a" }, assistant("b")] },
      "messages[0]",
      /starts with a tool's answer/,
    ],
    [
      "no assistant",
      { conversations: [{ from: "human", value: "a" }] },
      "conversations",
      /no assistant in the conversation \(only user\)/,
    ],
    ["an empty turn", { messages: [user("a"), assistant("")] }, "messages[1].content", /empty/],
    ["an image", { messages: [{ role: "user", content: [{ type: "image_url" }] }] }, "messages[0].content[0]", /image_url/],
    [
      "calls that are no JSON",
      { messages: [user("a"), { role: "assistant", content: "", tool_calls: "[{" }] },
      "messages[1].tool_calls",
      /not JSON/,
    ],
    ["tools that are no list", { messages: [user("a"), assistant("b")], tools: 5 }, "tools", /expected a list/],
    ["nothing to prefer", { prompt: "a", chosen: "b", rejected: "b" }, "rejected", /same as chosen/],
    ["a prompt that the assistant begins", { prompt: [assistant("a")], chosen: "b", rejected: "c" }, "prompt[0]", /starts with/],
    [
      "preferred turns that the assistant begins",
      { chosen: [assistant("a"), assistant("b")], rejected: [assistant("a"), assistant("c")] },
      "chosen[0]",
      /starts with/,
    ],
    ["no prompt", { chosen: "b", rejected: "c" }, "prompt", /is missing/],
    [
      "an answer that only repeats the prompt",
      { chosen: [user("a"), assistant("b"), user("c")], rejected: [user("a"), assistant("b")] },
      "rejected",
      /nothing beyond/,
    ],
    ["a history without pairs", { instruction: "a", output: "b", history: [["c"]] }, "history[0]", /a question and an answer/],
    ["fewer labels than words", { tokens: ["a", "b"], labels: [1] }, "labels", /1 labels for the 2/],
    ["no label", { text: "a", label: null }, "label", /is null, expected a name or a number/],
  ])("with %s is refused at its field", (_, row, field, problem) => {
    const parse = () => recognizeFormat(row)?.parse(row as Record<string, unknown>);
    expect(parse).toThrow(FieldProblem);
    expect(parse).toThrow(expect.objectContaining({ field, message: expect.stringMatching(problem) }));
  });
});
