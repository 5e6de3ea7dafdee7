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

/** What ShareGPT, its relatives and some models call the roles. */
export const otherRoleNames: Readonly<Record<string, Role>> = {
  human: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  bot: "assistant",
  model: "assistant",
  observation: "tool",
  function: "tool",
  function_response: "tool",
  ipython: "tool",
};

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
  /** Of an assistant's turn: 0 where it is not to be learned (OpenAI's `weight`). Default 1. */
  readonly weight?: number;
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
  weight: z.number().optional(),
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
  /** Whether somebody must have spoken before the assistant does. Default true. */
  readonly needsOpener?: boolean;
  /** For training, an assistant must have spoken; a prompt ends before it does. Default true. */
  readonly needsAssistant?: boolean;
}

/** What is wrong with the turns of a conversation. */
export interface TurnProblem {
  /** The place in the list of messages: `[2]`, `[2].content`; empty when it is the list as a whole. */
  readonly at: string;
  readonly problem: string;
}

/** What is wrong with the order of turns: what the assistant says answers somebody. `undefined` where nothing is. */
export function turnProblem(
  messages: readonly Message[],
  { needsOpener = true, needsAssistant = true }: TurnRules = {},
): TurnProblem | undefined {
  const first = messages.findIndex(({ role }) => role !== "system" && role !== "developer");
  const opener = messages[first]?.role;
  if (needsOpener && (opener === "assistant" || opener === "tool"))
    return {
      at: `[${first}]`,
      problem:
        `the conversation starts with ${opener === "tool" ? "a tool's answer" : "the assistant"}. ` +
        "Nothing would be there to answer: begin with a user's message, or leave this one out.",
    };
  if (needsAssistant && !messages.some(({ role }) => role === "assistant")) {
    const speakers = [...new Set(messages.map(({ role }) => role))].join(", ");
    return { at: "", problem: `there is no assistant in the conversation (only ${speakers}): nothing is there to learn to say.` };
  }
  return undefined;
}

/** @throws TsumikiError DATA that names the message whose turn it is not, or that says nothing */
export function checkTurns(
  { messages }: Conversation,
  { place = "The conversation", ...rules }: TurnRules & { readonly place?: string } = {},
): void {
  const wrong = turnProblem(messages, rules) ?? silentTurn(messages);
  if (wrong) throw badConversation(place, `messages${wrong.at}`, wrong.problem);
}

function silentTurn(messages: readonly Message[]): TurnProblem | undefined {
  const silent = messages.findIndex(
    ({ role, content, tool_calls }) => !(role === "assistant" && tool_calls?.length) && (content ?? undefined) === undefined,
  );
  if (silent < 0) return undefined;
  return { at: `[${silent}].content`, problem: "it is missing. Only an assistant that calls tools may say nothing." };
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
    const name = given.toLowerCase();
    const usual = Object.hasOwn(otherRoleNames, name) ? otherRoleNames[name] : undefined;
    return `the role ${JSON.stringify(given)} is unknown. ${known}${usual ? ` It is usually written "${usual}" here.` : ""}`;
  }
  const shown = given === undefined ? "it is missing" : `${JSON.stringify(given).slice(0, 80)} was given`;
  return `${shown}, but ${issue?.message ?? "a conversation was expected"}.`;
}
