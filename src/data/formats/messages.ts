/** Turns of a conversation, in the spellings that data has. */

import {
  type Message,
  otherRoleNames,
  type Role,
  roles,
  type Tool,
  type ToolCall,
  type TurnRules,
  turnProblem,
} from "../../chat/conversation.js";
import { FieldProblem, has, isRow, listOf, type Row, show, soundText } from "./field-problem.js";

/**
 * The turns in `value`: objects with `role` and `content` (OpenAI, MiniMind) or `from` and `value` (ShareGPT).
 *
 * @throws FieldProblem naming the turn: an unknown role, no content, an assistant that speaks first or never
 */
export function messagesOf(value: unknown, field: string, rules: TurnRules = {}): readonly Message[] {
  const messages = listOf(value, field).map((turn, i) => messageOf(turn, `${field}[${i}]`));
  const wrong = turnProblem(messages, rules);
  if (wrong) throw new FieldProblem(`${field}${wrong.at}`, wrong.problem);
  return messages;
}

function messageOf(turn: unknown, field: string): Message {
  if (!isRow(turn)) throw new FieldProblem(field, `is ${show(turn)}, expected an object with role and content`);
  const [roleField, contentField] = has(turn, "role") || !has(turn, "from") ? ["role", "content"] : ["from", "value"];
  const spelled = turn[roleField as string];
  const fromFunctionCall = spelled === "function_call";
  const role = fromFunctionCall ? "assistant" : roleOf(spelled, `${field}.${roleField}`);
  const callsTools = has(turn, "tool_calls") || has(turn, "function_call");
  const content = contentOf(turn[contentField as string], `${field}.${contentField}`, callsTools);
  const calls = fromFunctionCall
    ? callsOf(jsonOf(content, `${field}.${contentField}`), `${field}.${contentField}`)
    : has(turn, "tool_calls") && turn.tool_calls !== ""
      ? callsOf(jsonOf(turn.tool_calls, `${field}.tool_calls`), `${field}.tool_calls`)
      : has(turn, "function_call") // what OpenAI's API had before tool_calls
        ? callsOf(turn.function_call, `${field}.function_call`)
        : [];
  const reasoningField = ["reasoning_content", "reasoning", "thinking"].find((name) => has(turn, name));
  const reasoning = reasoningField === undefined ? "" : soundText(turn[reasoningField], `${field}.${reasoningField}`);
  // A tool may answer nothing at all.
  if (role !== "system" && role !== "tool" && content.trim() === "" && calls.length === 0 && reasoning === "")
    throw new FieldProblem(`${field}.${contentField}`, content === "" ? "is empty" : "is blank");
  return {
    role,
    content: fromFunctionCall ? "" : content,
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
    ...(has(turn, "tool_call_id") ? { tool_call_id: soundText(turn.tool_call_id, `${field}.tool_call_id`) } : {}),
    ...(has(turn, "name") ? { name: soundText(turn.name, `${field}.name`) } : {}),
    ...(has(turn, "weight") ? { weight: weightOf(turn.weight, `${field}.weight`) } : {}),
  };
}

/** Whether a turn is learned: OpenAI's `weight`. */
function weightOf(value: unknown, field: string): number {
  const weight = typeof value === "bigint" || typeof value === "boolean" ? Number(value) : value;
  if (weight === 0 || weight === 1) return weight;
  throw new FieldProblem(field, `is ${show(value)}, expected 0 for a turn that is not to be learned, or 1`);
}

function roleOf(value: unknown, field: string): Role {
  const role = typeof value === "string" && Object.hasOwn(otherRoleNames, value) ? otherRoleNames[value] : value;
  if ((roles as readonly unknown[]).includes(role)) return role as Role;
  throw new FieldProblem(field, `is ${show(value)}, expected one of ${[...roles, ...Object.keys(otherRoleNames)].join(", ")}`);
}

/** A text, or OpenAI's list of parts that are texts. */
function contentOf(value: unknown, field: string, mayBeMissing: boolean): string {
  if ((value === undefined || value === null) && mayBeMissing) return "";
  if (!Array.isArray(value)) return soundText(value, field);
  return value
    .map((part: unknown, i) => {
      if (!isRow(part) || part.type !== "text")
        throw new FieldProblem(`${field}[${i}]`, `is ${show(isRow(part) ? part.type : part)}, expected a part of type "text"`);
      return soundText(part.text, `${field}[${i}].text`);
    })
    .join("");
}

/** MiniMind and others keep calls and tools as JSON inside a text. */
function jsonOf(value: unknown, field: string): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch (cause) {
    throw new FieldProblem(field, `is a text that is not JSON: ${(cause as Error).message}`);
  }
}

function callsOf(value: unknown, field: string): readonly ToolCall[] {
  const calls = Array.isArray(value) ? value : [value];
  return calls.map((call: unknown, i) => {
    const place = `${field}[${i}]`;
    const described = isRow(call) ? (isRow(call.function) ? call.function : call) : undefined;
    if (!described || typeof described.name !== "string")
      throw new FieldProblem(place, `is ${show(call)}, expected { function: { name, arguments } }`);
    const argumentsField = isRow((call as Row).function) ? `${place}.function.arguments` : `${place}.arguments`;
    // A call without arguments is written in several ways.
    const given = described.arguments === "" ? {} : (jsonOf(described.arguments ?? {}, argumentsField) ?? {});
    if (!isRow(given)) throw new FieldProblem(argumentsField, `is ${show(given)}, expected an object`);
    const parameters = given;
    const id = (call as Row).id;
    return {
      ...(typeof id === "string" ? { id } : {}),
      type: "function" as const,
      function: { name: described.name, arguments: parameters },
    };
  });
}

/** The functions that a conversation may call: a list, or its JSON as a text; `undefined` when there are none. */
export function toolsOf(value: unknown, field: string): readonly Tool[] | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  const tools = jsonOf(value, field);
  if (!Array.isArray(tools)) throw new FieldProblem(field, `is ${show(tools)}, expected a list of tools`);
  const checked = tools.map((tool: unknown, i): Tool => {
    // Some data has the function without its frame.
    const described = isRow(tool) ? (isRow(tool.function) ? tool.function : tool) : undefined;
    if (!described || typeof described.name !== "string")
      throw new FieldProblem(`${field}[${i}]`, `is ${show(tool)}, expected { type: "function", function: { name, ... } }`);
    return { type: "function", function: described as Tool["function"] };
  });
  return checked.length === 0 ? undefined : checked;
}
