/** An encoded text with all that a model or a reader may want to know of its tokens. */

/** Arrays over tokens. */
export interface Encoding {
  readonly ids: Int32Array;
  /** As the vocabulary spells them; added tokens, and unknown text of Unigram, as they stand in the text. */
  readonly tokens: readonly string[];
  /** [start, end) of each token in its text [UTF-16 units]; 0, 0 for tokens that stand for none. [tokens, 2] */
  readonly offsets: Int32Array;
  /** 0 for the first text, 1 for the second, as the tokenizer's post-processor says. */
  readonly typeIds: Int32Array;
  /** 1 for what was added around the texts (`[CLS]`, padding). */
  readonly specialTokensMask: Int32Array;
  /** 0 for padding. */
  readonly attentionMask: Int32Array;
  /** Which text a token is of: 0, 1, or -1 for none. */
  readonly sequenceIds: Int32Array;
  /** What truncation cut off, in windows of the same length. */
  readonly overflowing: readonly Encoding[];
}

export interface Truncation {
  /** Tokens in all, those that are added around the texts included. */
  readonly maxLength: number;
  /** Tokens that a window of `overflowing` shares with the one before. Default 0. */
  readonly stride?: number;
  /** The side that is cut. Default "right". */
  readonly direction?: "left" | "right";
  /** Which of two texts is cut. Default "longest": both, down to equal lengths. */
  readonly of?: "longest" | "first" | "second";
}

export interface Padding {
  /** "longest" of the batch (the default), or a number of tokens. */
  readonly length?: "longest" | number;
  readonly multipleOf?: number;
  /** Default "right". */
  readonly direction?: "left" | "right";
  /** Default: the tokenizer's pad token. */
  readonly token?: string;
}

type Field = "ids" | "typeIds" | "specialTokensMask" | "attentionMask" | "sequenceIds";
const fields: readonly Field[] = ["ids", "typeIds", "specialTokensMask", "attentionMask", "sequenceIds"];

/** An encoding of `ids` that are all of text `sequence`, or of none (-1). */
export function plainEncoding(ids: Int32Array, tokens: readonly string[], offsets: Int32Array, sequence: number): Encoding {
  const filled = (value: number) => new Int32Array(ids.length).fill(value);
  return {
    ids,
    tokens,
    offsets,
    typeIds: filled(sequence === 1 ? 1 : 0),
    specialTokensMask: filled(sequence < 0 ? 1 : 0),
    attentionMask: filled(1),
    sequenceIds: filled(sequence),
    overflowing: [],
  };
}

/** One after the other; `overflowing` is left to the caller. */
export function concatenated(parts: readonly Encoding[]): Encoding {
  const join = (pick: (part: Encoding) => Int32Array): Int32Array => {
    const joined = new Int32Array(parts.reduce((length, part) => length + pick(part).length, 0));
    let at = 0;
    for (const part of parts) {
      joined.set(pick(part), at);
      at += pick(part).length;
    }
    return joined;
  };
  const columns = Object.fromEntries(fields.map((field) => [field, join((part) => part[field])])) as Record<Field, Int32Array>;
  return {
    ...columns,
    tokens: parts.flatMap(({ tokens }) => tokens),
    offsets: join(({ offsets }) => offsets),
    overflowing: [],
  };
}

export function part(encoding: Encoding, start: number, end: number): Encoding {
  const columns = Object.fromEntries(fields.map((field) => [field, encoding[field].slice(start, end)])) as Record<
    Field,
    Int32Array
  >;
  return {
    ...columns,
    tokens: encoding.tokens.slice(start, end),
    offsets: encoding.offsets.slice(2 * start, 2 * end),
    overflowing: [],
  };
}

/** The first `length` tokens (or the last, when the left is cut); the others come in `overflowing`. */
export function truncated(
  encoding: Encoding,
  length: number,
  { stride = 0, direction = "right" }: Pick<Truncation, "stride" | "direction">,
): Encoding {
  const count = encoding.ids.length;
  if (length >= count) return encoding;
  if (length <= 0) return { ...part(encoding, 0, 0), overflowing: [encoding] };
  const windows: Encoding[] = [];
  const step = length - stride;
  for (let at = 0; ; at += step) {
    const [start, end] =
      direction === "right" ? [at, Math.min(at + length, count)] : [Math.max(0, count - at - length), count - at];
    windows.push(part(encoding, start, end));
    if (direction === "right" ? end === count : start === 0) break;
  }
  const [kept, ...overflowing] = windows;
  return { ...(kept as Encoding), overflowing };
}

export interface PadToken {
  readonly id: number;
  readonly token: string;
  readonly typeId: number;
}

export function padded(encoding: Encoding, length: number, pad: PadToken, direction: "left" | "right"): Encoding {
  const overflowing = encoding.overflowing.map((window) => padded(window, length, pad, direction));
  const missing = length - encoding.ids.length;
  if (missing <= 0) return { ...encoding, overflowing };
  const filled = (value: number) => new Int32Array(missing).fill(value);
  const padding: Encoding = {
    ids: filled(pad.id),
    tokens: Array.from({ length: missing }, () => pad.token),
    offsets: new Int32Array(2 * missing),
    typeIds: filled(pad.typeId),
    specialTokensMask: filled(1),
    attentionMask: filled(0),
    sequenceIds: filled(-1),
    overflowing: [],
  };
  return { ...concatenated(direction === "right" ? [encoding, padding] : [padding, encoding]), overflowing };
}
