/** Chat templates: from a conversation to the text that a model was, or will be, trained on. */

import { TsumikiError } from "../errors.js";
import { type Conversation, checkTurns, type Message, parseConversation, type Tool } from "./conversation.js";
import { type CompiledTemplate, compileTemplate, type Rendering, renderTemplate } from "./jinja/render.js";
import { formatTime } from "./jinja/strftime.js";

/** A model's own Jinja template, and the special tokens that it names. */
export interface ChatTemplate {
  readonly source: string;
  /** Variables of every rendering, `bos_token` and `eos_token` above all. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** Whether the template itself says what the assistant generates, with `{% generation %}`. */
  readonly marksGeneration: boolean;
  /** Another one for conversations with tools, which some models have ("tool_use"). */
  readonly toolUse?: ChatTemplate;
}

export interface RenderOptions {
  /** Functions that the assistant may call. Default: the conversation's own. */
  readonly tools?: readonly Tool[];
  /** Ends the text with the beginning of the assistant's turn, for a model to go on. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** What this template knows besides, e.g. `{ enable_thinking: false }` of Qwen3's. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** The time that templates which ask for it are told. Default: now. */
  readonly now?: Date;
  /** What errors begin with, e.g. "chats.jsonl, line 12". */
  readonly place?: string;
}

const compiled = new WeakMap<ChatTemplate, CompiledTemplate>();

/**
 * @param source the template, e.g. from `chat_template.jinja` (of `loadChatTemplate`), or one of `chatTemplates`
 * @param variables what it names besides the conversation: special tokens such as `{ bos_token: "<s>" }`
 * @throws TsumikiError CONFIG where it is not a template
 */
export function chatTemplate(source: string, variables: Readonly<Record<string, unknown>> = {}): ChatTemplate {
  let program: CompiledTemplate;
  try {
    program = compileTemplate(source);
  } catch (cause) {
    throw new TsumikiError("CONFIG", `The chat template is not one that can be read: ${messageOf(cause)}`, { cause });
  }
  const template: ChatTemplate = { source, variables, marksGeneration: program.marksGeneration };
  compiled.set(template, program);
  return template;
}

/**
 * The conversation as the template writes it: the same text as `tokenizer.apply_chat_template(..., tokenize=False)` of Python's
 * transformers.
 *
 * @throws TsumikiError DATA where the conversation is not one, starts with the assistant, has none (unless `addGenerationPrompt` asks for
 * one), or is refused by the template; CONFIG where the template fails
 */
export function renderConversation(template: ChatTemplate, conversation: Conversation, options: RenderOptions = {}): string {
  return renderChecked(template, conversation, options).text;
}

/** The text, and what stood in the template's `{% generation %}` blocks. */
export function renderChecked(template: ChatTemplate, conversation: Conversation, options: RenderOptions): Rendering {
  const { place, addGenerationPrompt = false } = options;
  const checked = parseConversation(conversation, place);
  checkTurns(checked, { needsAssistant: !addGenerationPrompt, ...(place !== undefined && { place }) });
  const tools = options.tools ?? checked.tools ?? [];
  return renderMessages(templateFor(template, tools), checked.messages, { ...options, tools });
}

export const templateFor = (template: ChatTemplate, tools: readonly Tool[]): ChatTemplate =>
  tools.length > 0 ? (template.toolUse ?? template) : template;

/** Renders any messages, in whatever order. */
export function renderMessages(template: ChatTemplate, messages: readonly Message[], options: RenderOptions): Rendering {
  const { tools = [], addGenerationPrompt = false, variables = {}, now, place = "The conversation" } = options;
  try {
    return renderTemplate(programOf(template), {
      ...template.variables,
      strftime_now: (format: string) => formatTime(now ?? new Date(), format),
      range: pythonRange,
      raise_exception: (message: unknown) => {
        throw new Refusal(String(message));
      },
      documents: null,
      ...variables,
      messages: messages.map(withReasoning),
      tools: tools.length > 0 ? tools : null,
      add_generation_prompt: addGenerationPrompt,
    });
  } catch (cause) {
    if (cause instanceof Refusal)
      throw new TsumikiError("DATA", `${place}: the chat template refuses it: ${cause.message}`, { cause });
    throw new TsumikiError("CONFIG", `${place}: the chat template fails on it: ${messageOf(cause)}`, { cause });
  }
}

/** What a template says with `raise_exception`. */
class Refusal extends Error {}

function programOf(template: ChatTemplate): CompiledTemplate {
  const known = compiled.get(template);
  if (known) return known;
  const program = compileTemplate(template.source); // a copy of what `chatTemplate` made
  compiled.set(template, program);
  return program;
}

/** As transformers does it: reasoning goes by three names, of which templates read the first two. */
function withReasoning(message: Message): Message {
  const names = ["reasoning_content", "thinking", "reasoning"] as const;
  const fields = message as Message & { readonly [name in (typeof names)[number]]?: string | null };
  const reasoning = names.map((name) => fields[name]).find((text) => text !== undefined && text !== null);
  return reasoning === undefined ? message : ({ thinking: reasoning, ...message, reasoning_content: reasoning } as Message);
}

function pythonRange(first: number, last?: number, step = 1): number[] {
  const [start, end] = last === undefined ? [0, first] : [first, last];
  return Array.from({ length: Math.max(0, Math.ceil((end - start) / step)) }, (_, i) => start + i * step);
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
