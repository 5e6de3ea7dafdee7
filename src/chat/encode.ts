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
 * @throws TsumikiError what `renderConversation` throws, and TOKENIZER where the tokens cannot be placed in the text
 */
export function encodeConversation(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  conversation: Conversation,
  options: RenderOptions = {},
): EncodedConversation {
  const { text, spans } = renderWithSpans(template, conversation, options, tokenizer.specialTokens);
  const ids = tokenizer.encode(text);
  return { text, ids, assistantMask: maskOf(spans, text, ids, tokenizer) };
}

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
  if (used.marksGeneration) return { text, spans: generated };
  const ends = [...specialTokens, ...Object.values(used.variables).filter((value) => typeof value === "string")];
  return { text, spans: assistantSpansByDiffing(used, checked, text, { ...options, tools }, ends) };
}

/** Tokens that share a character with a span count as its own, as in transformers. */
function maskOf(spans: readonly Span[], text: string, ids: Int32Array, tokenizer: Tokenizer): Uint8Array {
  const mask = new Uint8Array(ids.length);
  if (spans.length === 0) return mask;
  const ends = tokenEnds(text, ids, tokenizer);
  const bytesBefore = byteOffsets(text, spans.flat());
  let token = 0;
  for (const [start, end] of spans) {
    const [from, to] = [bytesBefore.get(start) as number, bytesBefore.get(end) as number];
    while (token < ids.length && (ends[token] as number) <= from) token++;
    for (let i = token; i < ids.length && (i === 0 ? 0 : (ends[i - 1] as number)) < to; i++) mask[i] = 1;
  }
  return mask;
}

/** Where each token ends [bytes of UTF-8]. */
function tokenEnds(text: string, ids: Int32Array, tokenizer: Tokenizer): Float64Array {
  const ends = new Float64Array(ids.length);
  let end = 0;
  for (let i = 0; i < ids.length; i++) {
    end += tokenizer.byteLength(ids.subarray(i, i + 1));
    ends[i] = end;
  }
  const length = utf8Length(text);
  if (end !== length)
    throw new TsumikiError(
      "TOKENIZER",
      `The tokens of the conversation stand for ${end} bytes and its text has ${length}, so the assistant's tokens cannot be told from the ` +
        "others. This tokenizer changes texts (it normalizes, or does not know some characters); take one that keeps them, such as byte-level BPE.",
    );
  return ends;
}

/** The bytes of UTF-8 before each of the places, which ascend [UTF-16 units]. */
function byteOffsets(text: string, places: readonly number[]): Map<number, number> {
  const offsets = new Map<number, number>();
  let [at, bytes] = [0, 0];
  for (const place of places) {
    bytes += utf8Length(text.slice(at, place));
    at = place;
    offsets.set(place, bytes);
  }
  return offsets;
}

const encoder = new TextEncoder();
const utf8Length = (text: string): number => encoder.encode(text).length;
