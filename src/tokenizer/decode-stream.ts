/** Decoding while tokens arrive. */

export interface DecodeStream {
  /** The text that `id` completes: "" while a character is still missing bytes. */
  push(id: number): string;
  /** What is left when no id follows: bytes of an unfinished character come out as U+FFFD. */
  end(): string;
}

/**
 * The pieces that `push` and `end` return, joined, are the decoding of all ids.
 *
 * Ids are held back while their text ends in U+FFFD, which is what an unfinished character decodes to. The ids shown last are decoded
 * again together with the new ones, since some decoders treat the first token of a text in its own way (as in Hugging Face's
 * `DecodeStream`).
 */
export function createDecodeStream(decode: (ids: readonly number[]) => string): DecodeStream {
  let shown: number[] = [];
  let waiting: number[] = [];
  const newText = () => decode([...shown, ...waiting]).slice(decode(shown).length);
  return {
    push(id) {
      waiting.push(id);
      const text = newText();
      if (text === "" || text.endsWith("\uFFFD")) return "";
      shown = waiting;
      waiting = [];
      return text;
    },
    end() {
      const text = newText();
      shown = [];
      waiting = [];
      return text;
    },
  };
}
