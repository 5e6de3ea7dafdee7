import { describe, expect, it } from "vitest";
import golden from "./golden/templates.json" with { type: "json" };
import { type ChatTemplate, type Conversation, chatTemplate, chatTemplates, renderConversation } from "./index.js";
import { formatTime } from "./jinja/strftime.js";
import { renderMessages } from "./template.js";

type Expected = { text?: string; spans?: number[][]; throws?: string };
type Renderings = Record<string, { plain: Expected; prompt: Expected }>;
const conversations = golden.conversations as unknown as Record<string, Conversation & { variables?: Record<string, unknown> }>;

function expectRendering(template: ChatTemplate, name: string, expected: Expected, addGenerationPrompt: boolean): void {
  const { messages, tools = [], variables = {} } = conversations[name] as (typeof conversations)[string];
  const render = () => renderMessages(template, messages, { tools, addGenerationPrompt, variables });
  if (expected.throws === undefined) expect(render()).toEqual({ text: expected.text, generated: expected.spans });
  else expect(render, `transformers throws ${expected.throws}`).toThrow(/chat template (refuses|fails on) it/);
}

function expectRenderings(template: ChatTemplate, renderings: Renderings): void {
  expect(Object.keys(renderings)).toEqual(Object.keys(conversations));
  for (const [name, { plain, prompt }] of Object.entries(renderings)) {
    expectRendering(template, name, plain, false);
    expectRendering(template, name, prompt, true);
  }
}

describe("templates render as in transformers", () => {
  it.each(Object.keys(chatTemplates) as (keyof typeof chatTemplates)[])("%s", (name) => {
    const template = chatTemplate(chatTemplates[name], golden.variables);
    expect(template.marksGeneration).toBe(true);
    expectRenderings(template, golden.own[name] as Renderings);
  });

  it.each(Object.entries(golden.rules))("rules of Jinja: %s", (_, { source, ...expected }) => {
    const template = chatTemplate(source, golden.variables);
    if (template.marksGeneration || !source.includes("filter upper")) expectRendering(template, "two turns", expected, false);
    else {
      // A mark inside of what a filter changes has no place in the text: there transformers makes one up.
      const { messages } = conversations["two turns"] as Conversation;
      expect(renderMessages(template, messages, {})).toEqual({ text: (expected as Expected).text, generated: [] });
    }
  });
});

describe("renderConversation", () => {
  const chatml = chatTemplate(chatTemplates.chatml);
  const question = { role: "user", content: "?" } as const;
  const answer = { role: "assistant", content: "!" } as const;
  const refusal = (conversation: unknown, options = {}) => {
    try {
      renderConversation(chatml, conversation as Conversation, { place: "chats.jsonl, line 7", ...options });
    } catch (error) {
      return error;
    }
    return expect.unreachable();
  };

  it.each([
    ["starts with the assistant", { messages: [answer, question] }, /line 7, messages\[0\]: .*starts with the assistant/],
    ["starts with it after the system", { messages: [{ role: "system", content: "s" }, answer] }, /messages\[1\]: /],
    ["starts with a tool", { messages: [{ role: "tool", content: "s" }, answer] }, /starts with a tool's answer/],
    ["never has an assistant", { messages: [question] }, /line 7, messages: there is no assistant/],
    [
      "has an unknown role",
      { messages: [question, { role: "gpt", content: "!" }] },
      /messages\[1\]\.role: the role "gpt".*"assistant"/,
    ],
    [
      "has a role that nobody knows",
      { messages: [{ role: "robot", content: "!" }] },
      /"robot" is unknown. Known roles are system/,
    ],
    ["has no content", { messages: [{ role: "user" }, answer] }, /messages\[0\]\.content: it is missing/],
    [
      "has a number for content",
      { messages: [question, { role: "assistant", content: 3 }] },
      /messages\[1\]\.content: 3 was given/,
    ],
    [
      "has an empty name of a tool",
      { messages: [question, { ...answer, tool_calls: [{ function: { name: "", arguments: {} } }] }] },
      /messages\[1\]\.tool_calls\[0\]\.function\.name/,
    ],
    ["is empty", { messages: [] }, /messages: \[\] was given/],
    ["is no conversation", "hello", /"hello" was given/],
    ["is null", null, /null was given/],
  ])("refuses a conversation that %s, naming row and field", (_, conversation, message) => {
    expect(refusal(conversation)).toMatchObject({ code: "DATA", message: expect.stringMatching(message) });
  });

  it("takes a prompt without an assistant, and a list of messages", () => {
    expect(renderConversation(chatml, { messages: [question] }, { addGenerationPrompt: true })).toBe(
      "<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n",
    );
    expect(renderConversation(chatml, [question, answer] as unknown as Conversation)).toContain("!<|im_end|>");
  });

  it("says what a template refuses, and where a template fails", () => {
    const gemma = chatTemplate(chatTemplates.gemma, { bos_token: "<bos>" });
    const conversation = { messages: [{ role: "system", content: "s" }, question, answer] } as const;
    expect(() => renderConversation(gemma, conversation, { place: "row 3" })).toThrow(
      expect.objectContaining({ code: "DATA", message: "row 3: the chat template refuses it: System role not supported" }),
    );
    const failing = chatTemplate("{{ messages[0].content + messages }}");
    expect(() => renderConversation(failing, { messages: [question, answer] })).toThrow(
      expect.objectContaining({
        code: "CONFIG",
        message: expect.stringMatching(/fails on it: a str and a list cannot be added/),
      }),
    );
    for (const source of ["{% if %}", "{{ 'a }}", "{% generation %}", "{% for x in y %}"])
      expect(() => chatTemplate(source), source).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });

  it("uses the template for tools where there is one, and tells the time", () => {
    const template = { ...chatTemplate("plain"), toolUse: chatTemplate("{{ tools | length }} {{ strftime_now('%d %b %Y') }}") };
    const tools = [{ type: "function", function: { name: "f" } }] as const;
    const options = { now: new Date(2024, 6, 5) };
    expect(renderConversation(template, { messages: [question, answer] })).toBe("plain");
    expect(renderConversation(template, { messages: [question, answer], tools }, options)).toBe("1 05 Jul 2024");
    expect(formatTime(new Date(2024, 11, 31, 15, 4, 5), "%Y-%m-%d %H:%M:%S %j %I %p %A %a %B %y %T %q %%")).toBe(
      "2024-12-31 15:04:05 366 03 PM Tuesday Tue December 24 15:04:05 %q %",
    );
  });

  it("reads thoughts under each of their names", () => {
    const qwen3 = chatTemplate(chatTemplates.qwen3);
    for (const name of ["reasoning_content", "thinking", "reasoning"])
      expect(renderConversation(qwen3, { messages: [question, { ...answer, [name]: "because" }] })).toContain(
        "<think>\nbecause\n",
      );
  });
});
