/** Which parts of a rendered conversation the assistant generates. */

import { TsumikiError } from "../errors.js";
import type { Conversation, Message } from "./conversation.js";
import type { Span } from "./jinja/render.js";
import { type ChatTemplate, type RenderOptions, renderMessages } from "./template.js";

/**
 * Finds the assistant's parts of `text` (the rendering of `conversation`) for a template that does not mark them, by rendering the
 * conversation again with parts left out and changed.
 *
 * A turn begins where the conversation before it, with the generation prompt, ends: that is the text that a model is given. It ends where
 * the conversation up to and including it ends, after the token that ends the turn. Templates that render a turn in another way when
 * more follows (Qwen3 leaves out the thoughts of earlier turns; some begin the generation prompt with a thought) make such a rendering no
 * beginning of `text`; there the place of what the message says is found by changing it.
 *
 * @param endTokens tokens that can end a turn; white space behind them is the template's, not generated
 */
export function assistantSpansByDiffing(
  template: ChatTemplate,
  { messages }: Conversation,
  text: string,
  options: RenderOptions,
  endTokens: readonly string[],
): Span[] {
  const render = (some: readonly Message[], addGenerationPrompt = false): string | undefined => {
    try {
      return renderMessages(template, some, { ...options, addGenerationPrompt }).text;
    } catch (error) {
      if (error instanceof TsumikiError) return undefined; // a template may refuse a conversation that stops in the middle
      throw error;
    }
  };
  const marker = unusedCharacter(text);
  const spans: Span[] = [];
  for (const [i, message] of messages.entries()) {
    if (message.role !== "assistant" || message.weight === 0) continue;
    const [before, after] = [messages.slice(0, i), messages.slice(i + 1)];
    const changed = (mark: (said: string) => string) => [...before, changeWords(message, mark), ...after];
    const prompt = render(before, true);
    const isWhole = after.length === 0 && options.addGenerationPrompt !== true;
    const upToHere = isWhole ? text : render([...before, message]);

    let start = prompt;
    if (prompt === undefined || !text.startsWith(prompt)) {
      const marked = render(changed((said) => marker + said));
      const shown =
        marked === undefined || marked === text
          ? firstShown(text, message, (changedMessage) => render([...before, changedMessage, ...after]), marker)
          : marked;
      if (shown === undefined) continue; // the template does not show this turn
      start = text.slice(0, commonPrefix(text, shown));
    }
    let end = upToHere;
    if (upToHere === undefined || !text.startsWith(upToHere)) {
      const marked = render(changed((said) => said + marker));
      if (marked === undefined || marked === text) continue;
      const wordsEnd = text.length - commonSuffix(text, marked);
      const markedHere = render([...before, changeWords(message, (said) => said + marker)]);
      const turnEnd =
        upToHere !== undefined && markedHere !== undefined
          ? upToHere.slice(upToHere.length - commonSuffix(upToHere, markedHere))
          : "";
      end = text.slice(0, wordsEnd + wholeTokens(turnEnd, commonPrefix(text.slice(wordsEnd), turnEnd), endTokens));
    }
    const from = (start as string).length;
    const to = withoutTrailingSpace(text, (end as string).length, endTokens);
    if (to > from) spans.push([from, to]);
  }
  return spans;
}

/**
 * The rendering in which a mark stands as early in the content as the template shows it; undefined where it shows nothing of it. Templates
 * that leave a thought out show what stands behind it.
 */
function firstShown(
  text: string,
  message: Message,
  render: (message: Message) => string | undefined,
  marker: string,
): string | undefined {
  const { content } = message;
  if (typeof content !== "string") return undefined;
  const markedAt = (place: number) =>
    render({ ...message, content: `${content.slice(0, place)}${marker}${content.slice(place)}` });
  let shown = markedAt(content.length);
  if (shown === undefined || shown === text) return undefined;
  let [hidden, visible] = [0, content.length];
  while (visible - hidden > 1) {
    const middle = (hidden + visible) >> 1;
    const marked = markedAt(middle);
    if (marked === undefined || marked === text) hidden = middle;
    else [visible, shown] = [middle, marked];
  }
  return shown;
}

/** A length that does not end inside of a token that `text` has there: two texts may begin alike, in the middle of different tokens. */
function wholeTokens(text: string, length: number, tokens: readonly string[]): number {
  if (length === text.length) return length;
  const cut = tokens.flatMap((token) => {
    const from = token === "" ? -1 : text.lastIndexOf(token, length - 1);
    return from >= 0 && from + token.length > length ? [from] : [];
  });
  return Math.min(length, ...cut);
}

/** The message with everything changed that it says: thoughts, content, tool calls. */
function changeWords(message: Message, mark: (said: string) => string): Message {
  const { content, reasoning_content: reasoning, tool_calls: calls } = message;
  return {
    ...message,
    ...(typeof content === "string" && { content: mark(content) }),
    ...(Array.isArray(content) && {
      content: content.map((part) => (part.text === undefined ? part : { ...part, text: mark(part.text) })),
    }),
    ...(typeof reasoning === "string" && { reasoning_content: mark(reasoning) }),
    ...(calls && {
      tool_calls: calls.map((call) => ({ ...call, function: { ...call.function, name: mark(call.function.name) } })),
    }),
  };
}

function withoutTrailingSpace(text: string, end: number, endTokens: readonly string[]): number {
  const trimmed = text.slice(0, end).trimEnd();
  return endTokens.some((token) => token !== "" && trimmed.endsWith(token)) ? trimmed.length : end;
}

function commonPrefix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

function commonSuffix(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a[a.length - 1 - length] === b[b.length - 1 - length]) length++;
  return length;
}

/** A letter, so that templates that trim what is said leave it: of a private area, since it must not occur in the text. */
function unusedCharacter(text: string): string {
  for (let code = 0xe000; code < 0xf900; code++) {
    const character = String.fromCharCode(code);
    if (!text.includes(character)) return character;
  }
  throw new TsumikiError("DATA", "The conversation uses every character of the private use area (U+E000 to U+F8FF).");
}
