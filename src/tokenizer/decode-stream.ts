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
 *
 * @param after ids whose text was shown before: what is decoded continues it, with its first space
 */
export function createDecodeStream(decode: (ids: readonly number[]) => string, after: ArrayLike<number> = []): DecodeStream {
  let shown: number[] = Array.from(after);
  let waiting: number[] = [];
  let known = decode(shown);
  const newText = () => {
    const text = decode([...shown, ...waiting]);
    // A character that the ids before left unfinished is completed by the new ones.
    return text.slice((text.startsWith(known) ? known : known.replace(/\uFFFD+$/, "")).length);
  };
  return {
    push(id) {
      waiting.push(id);
      const text = newText();
      if (text === "" || text.endsWith("\uFFFD")) return "";
      shown = waiting;
      known = decode(shown);
      waiting = [];
      return text;
    },
    end() {
      const text = waiting.length === 0 ? "" : newText();
      shown = [];
      known = "";
      waiting = [];
      return text;
    },
  };
}
