/** A conversation as tokens, with the assistant's marked: what fine-tuning with the loss on the answers alone learns from. */

import { TsumikiError } from "../errors.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { assistantSpansByDiffing } from "./assistant-spans.js";
import { type Conversation, parseConversation } from "./conversation.js";
import type { Span } from "./jinja/render.js";
import { type ChatTemplate, type RenderOptions, renderChecked, templateFor } from "./template.js";

export interface EncodedConversation {
  readonly text: string;
  /** [tokens] */
  readonly ids: Int32Array;
  /** 1 for tokens that the assistant generates, its end of turn among them, else 0. [tokens] */
  readonly assistantMask: Uint8Array;
}

/**
 * Renders and encodes a conversation. The assistant's tokens are what stands in the template's `{% generation %}` blocks, or is found by
 * rendering the conversation in parts where it has none: see `assistantSpans`.
 *
 * @throws TsumikiError what `renderConversation` throws, DATA where none of the assistant's tokens is left, and TOKENIZER where the tokens cannot be placed in the text
 */
export function encodeConversation(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  conversation: Conversation,
  options: RenderOptions = {},
): EncodedConversation {
  const { text, spans } = renderWithSpans(template, conversation, options, tokenizer.specialTokens);
  const ids = tokenizer.encode(text);
  const assistantMask = maskOf(spans, text, ids, tokenizer);
  if (!assistantMask.includes(1) && saysSomething(parseConversation(conversation, options.place)))
    throw new TsumikiError(
      "DATA",
      `${options.place ?? "The conversation"}: the template shows nothing of what the assistant says, so there is nothing to learn. ` +
        "Templates may leave out thoughts, or turns of roles that they do not know; see the rendered text.",
    );
  return { text, ids, assistantMask };
}

/** Whether there is a turn to learn: one of the assistant's whose weight is not 0. */
const saysSomething = ({ messages }: Conversation): boolean =>
  messages.some(({ role, weight }) => role === "assistant" && weight !== 0);

/** The parts of the rendered text that the assistant generates, in order. @throws TsumikiError what `renderConversation` throws */
export function assistantSpans(
  template: ChatTemplate,
  conversation: Conversation,
  options: RenderOptions = {},
): { readonly text: string; readonly spans: readonly Span[] } {
  return renderWithSpans(template, conversation, options, []);
}

function renderWithSpans(
  template: ChatTemplate,
  conversation: Conversation,
  options: RenderOptions,
  specialTokens: readonly string[],
): { readonly text: string; readonly spans: readonly Span[] } {
  const { text, generated } = renderChecked(template, conversation, options);
  const checked = parseConversation(conversation, options.place);
  const tools = options.tools ?? checked.tools ?? [];
  const used = templateFor(template, tools);
  const assistants = checked.messages.filter(({ role }) => role === "assistant");
  const learned = assistants.map(({ weight }) => weight !== 0);
  if (used.marksGeneration && learned.every(Boolean)) return { text, spans: generated };
  if (used.marksGeneration && generated.length === assistants.length)
    return { text, spans: generated.filter((_, i) => learned[i]) };
  const ends = [...specialTokens, ...Object.values(used.variables).filter((value) => typeof value === "string")];
  return { text, spans: assistantSpansByDiffing(used, checked, text, { ...options, tools }, ends) };
}

/** Tokens that share a character with a span count as its own, as in transformers. */
function maskOf(spans: readonly Span[], text: string, ids: Int32Array, tokenizer: Tokenizer): Uint8Array {
  const mask = new Uint8Array(ids.length);
  if (spans.length === 0) return mask;
  const inBytes = bytePlaces(text, ids, tokenizer);
  const { places, unit } = inBytes ?? { places: charactersOf(text, ids, tokenizer), unit: (place: number) => place };
  let token = 0;
  for (const [start, end] of spans) {
    const [from, to] = [unit(start), unit(end)];
    while (token < ids.length && (places[2 * token + 1] as number) <= from) token++;
    for (let i = token; i < ids.length && (places[2 * i] as number) < to; i++) mask[i] = 1;
  }
  return mask;
}

/** Where tokens start and end, and how far a place in the text is. */
interface TokenPlaces {
  /** [tokens, 2] */
  readonly places: ArrayLike<number>;
  readonly unit: (place: number) => number;
}

/** Byte-level tokens may begin inside of a character: their places are counted in bytes. Undefined for other tokenizers. */
function bytePlaces(text: string, ids: Int32Array, tokenizer: Tokenizer): TokenPlaces | undefined {
  if (tokenizer.toJSON().decoder?.type !== "ByteLevel") return undefined;
  const places = new Float64Array(2 * ids.length);
  let end = 0;
  for (let i = 0; i < ids.length; i++) {
    places[2 * i] = end;
    end += tokenizer.byteLength(ids.subarray(i, i + 1));
    places[2 * i + 1] = end;
  }
  if (end !== utf8Length(text)) return undefined; // a normalizer has changed the text
  let [at, bytes] = [0, 0];
  const unit = (place: number) => {
    bytes = (place < at ? 0 : bytes) + utf8Length(text.slice(place < at ? 0 : at, place));
    at = place;
    return bytes;
  };
  return { places, unit };
}

function charactersOf(text: string, ids: Int32Array, tokenizer: Tokenizer): Int32Array {
  const { ids: again, offsets } = tokenizer.tokenize(text, { addSpecialTokens: false });
  if (again.length !== ids.length)
    throw new TsumikiError(
      "TOKENIZER",
      `The tokenizer gives ${again.length} tokens with their places in the text, and ${ids.length} without; the assistant's cannot be told.`,
    );
  return offsets;
}

const encoder = new TextEncoder();
const utf8Length = (text: string): number => encoder.encode(text).length;
