/** Conversations as chat templates read them: plain data, with the field names that files of conversations have (OpenAI's `messages`). */

import { z } from "zod";
import { TsumikiError } from "../errors.js";

/** A function that the assistant calls. */
export interface ToolCall {
  readonly id?: string;
  readonly type?: "function";
  readonly function: {
    readonly name: string;
    /** An object, or JSON text as OpenAI's API has it; templates differ in which they take. */
    readonly arguments: string | Readonly<Record<string, unknown>>;
  };
}

export interface ContentPart {
  /** "text", or what the template knows besides: "image", "video", ... */
  readonly type: string;
  readonly text?: string;
}

export const roles = ["system", "developer", "user", "assistant", "tool"] as const;
export type Role = (typeof roles)[number];

export interface Message {
  readonly role: Role;
  /** null, or left out, where an assistant only calls tools. */
  readonly content?: string | readonly ContentPart[] | null;
  /** What the assistant thought before it answered; `thinking` and `reasoning` are read as this too, as in transformers. */
  readonly reasoning_content?: string | null;
  readonly tool_calls?: readonly ToolCall[];
  /** Of a tool's answer: the call that it answers. */
  readonly tool_call_id?: string;
  readonly name?: string;
}

/** A function that can be called: a JSON schema, as OpenAI's API and transformers have it. */
export interface Tool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description?: string;
    readonly parameters?: Readonly<Record<string, unknown>>;
  };
}

export interface Conversation {
  readonly messages: readonly Message[];
  readonly tools?: readonly Tool[];
}

const text = z.string();
const toolCall = z.looseObject({
  id: text.optional(),
  type: z.literal("function").optional(),
  function: z.looseObject({ name: text.min(1), arguments: z.union([text, z.record(text, z.unknown())]) }),
});
const contentPart = z.looseObject({ type: text, text: text.optional() });
const reasoning = text.nullable().optional();
const message = z.looseObject({
  role: z.enum(roles),
  content: z
    .union([text, z.array(contentPart)])
    .nullable()
    .optional(),
  reasoning_content: reasoning,
  thinking: reasoning,
  reasoning: reasoning,
  tool_calls: z.array(toolCall).nullable().optional(),
  tool_call_id: text.optional(),
  name: text.optional(),
});
const tool = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name: text.min(1),
    description: text.optional(),
    parameters: z.record(text, z.unknown()).optional(),
  }),
});
const conversation = z.looseObject({ messages: z.array(message).min(1), tools: z.array(tool).nullable().optional() });

/**
 * Checks that `value` is a conversation, or a list of messages, which is taken as one.
 *
 * @param place what errors begin with, e.g. "chats.jsonl, line 12"
 * @throws TsumikiError DATA that names the field
 */
export function parseConversation(value: unknown, place = "The conversation"): Conversation {
  const result = conversation.safeParse(Array.isArray(value) ? { messages: value } : value);
  if (result.success) return result.data as Conversation;
  const [issue] = result.error.issues;
  throw badConversation(place, fieldPath(issue?.path ?? []), describeIssue(issue, value));
}

export interface TurnRules {
  /** For training, an assistant must have spoken; a prompt ends before it does. Default true. */
  readonly needsAssistant?: boolean;
  readonly place?: string;
}

/**
 * Checks the order of turns: what the assistant says answers somebody.
 * @throws TsumikiError DATA that names the message
 */
export function checkTurns(
  { messages }: Conversation,
  { needsAssistant = true, place = "The conversation" }: TurnRules = {},
): void {
  const first = messages.findIndex(({ role }) => role !== "system" && role !== "developer");
  if (messages[first]?.role === "assistant" || messages[first]?.role === "tool") {
    const opener = messages[first]?.role === "tool" ? "a tool's answer" : "the assistant";
    const advice = "Nothing would be there to answer: begin with a user's message, or leave this one out.";
    throw badConversation(place, `messages[${first}].role`, `the conversation starts with ${opener}. ${advice}`);
  }
  for (const [i, { role, content, tool_calls }] of messages.entries()) {
    const callsTools = role === "assistant" && (tool_calls?.length ?? 0) > 0;
    if ((content === undefined || content === null) && !callsTools)
      throw badConversation(
        place,
        `messages[${i}].content`,
        "it is missing. Only an assistant that calls tools may say nothing.",
      );
  }
  if (needsAssistant && !messages.some(({ role }) => role === "assistant")) {
    const advice = "There is nothing to learn from it; as a prompt, render it with the generation prompt.";
    throw badConversation(
      place,
      "messages",
      `there is no assistant in the conversation (${messages.length} messages). ${advice}`,
    );
  }
}

const badConversation = (place: string, field: string, problem: string): TsumikiError =>
  new TsumikiError("DATA", `${place}, ${field}: ${problem}`);

const fieldPath = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (left, key) => (typeof key === "number" ? `${left}[${key}]` : left === "" ? String(key) : `${left}.${String(key)}`),
    "",
  ) || "messages";

function describeIssue(issue: z.core.$ZodIssue | undefined, value: unknown): string {
  const path = [...(issue?.path ?? [])];
  let given: unknown = Array.isArray(value) ? { messages: value } : value;
  for (const key of path) given = (given as Record<PropertyKey, unknown> | null | undefined)?.[key];
  if (path.at(-1) === "role" && typeof given === "string") {
    const known = `Known roles are ${roles.join(", ")}.`;
    const usual = usualNames.get(given.toLowerCase());
    return `the role ${JSON.stringify(given)} is unknown. ${known}${usual ? ` It is usually written "${usual}" here.` : ""}`;
  }
  const shown = given === undefined ? "it is missing" : `${JSON.stringify(given).slice(0, 80)} was given`;
  return `${shown}, but ${issue?.message ?? "a conversation was expected"}.`;
}

/** What other formats call the roles. */
const usualNames = new Map<string, Role>([
  ["human", "user"],
  ["gpt", "assistant"],
  ["bot", "assistant"],
  ["model", "assistant"],
  ["function", "tool"],
  ["observation", "tool"],
  ["ipython", "tool"],
]);
