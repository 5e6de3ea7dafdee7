/** What encodes a piece of text as tokens of a vocabulary. */

import { TsumikiError } from "../../errors.js";
import { grown } from "../grown.js";

/** Tokens as they are found: ids, and where each stands in its piece [UTF-16 units]. */
export class TokenList {
  length = 0;
  ids = new Int32Array(64);
  ends = new Int32Array(64);
  /** Several tokens stand for one text where it falls back to bytes. */
  starts = new Int32Array(64);

  /** @param start default: where the token before ends */
  push(id: number, end: number, start = this.length === 0 ? 0 : (this.ends[this.length - 1] as number)): void {
    if (this.length === this.ids.length) {
      this.ids = grown(this.ids);
      this.ends = grown(this.ends);
      this.starts = grown(this.starts);
    }
    this.ids[this.length] = id;
    this.starts[this.length] = start;
    this.ends[this.length++] = end;
  }
}

export interface SubwordModel {
  /** One more than the largest id. */
  readonly size: number;
  /** A token for unknown text that is shown as that text, as Unigram's is. */
  readonly spelledId?: number;
  /** Appends the tokens of `piece`, which is not empty. A piece that cannot be encoded at all adds none. */
  encode(piece: string, tokens: TokenList): void;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
}

/** The two directions of a vocabulary. */
export class Vocabulary {
  readonly size: number;
  private readonly tokens: (string | undefined)[] = [];

  constructor(readonly ids: ReadonlyMap<string, number>) {
    for (const [token, id] of ids) this.tokens[id] = token;
    this.size = this.tokens.length;
  }

  token(id: number): string | undefined {
    return this.tokens[id];
  }

  /** The id of a token that the model names. */
  need(token: string, what: string): number {
    const id = this.ids.get(token);
    if (id !== undefined) return id;
    throw new TsumikiError("TOKENIZER", `The ${what} ${JSON.stringify(token)} is not in the vocabulary of this tokenizer.json.`);
  }
}

/** From a text to the ids of its bytes, `<0x00>` to `<0xFF>`; undefined where the vocabulary has not all of these (Gemma's lacks one). */
export function byteFallback(vocabulary: Vocabulary): (text: string) => readonly number[] | undefined {
  const idOf = Array.from({ length: 256 }, (_, byte) =>
    vocabulary.ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
  const encoder = new TextEncoder();
  return (text) => {
    const ids = Array.from(encoder.encode(text), (byte) => idOf[byte]);
    return ids.every((id) => id !== undefined) ? ids : undefined;
  };
}
