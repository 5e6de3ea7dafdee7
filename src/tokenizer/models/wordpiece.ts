/** Encoding with WordPiece: the longest piece of the vocabulary that fits, again and again (Devlin et al. 2019, `tokenization.py`). */

import type { TokenizerJson } from "../tokenizer-json.js";
import { type SubwordModel, type TokenList, Vocabulary } from "./model.js";

export function wordPieceModel(model: TokenizerJson["model"]): SubwordModel {
  const vocabulary = new Vocabulary(new Map(Object.entries(model.vocab as Record<string, number>)));
  const prefix = String(model.continuing_subword_prefix ?? "##");
  const longestWord = Number(model.max_input_chars_per_word ?? 100);
  const unknown = vocabulary.need(String(model.unk_token ?? "[UNK]"), "unk_token");
  let longestToken = 0;
  for (const token of vocabulary.ids.keys()) longestToken = Math.max(longestToken, token.length);

  const encode = (piece: string, tokens: TokenList): void => {
    const before = tokens.length;
    let at = 0;
    if (piece.length <= longestWord || [...piece].length <= longestWord) {
      while (at < piece.length) {
        const start = at === 0 ? "" : prefix;
        let end = Math.min(piece.length, at + longestToken - start.length);
        if (end < piece.length && (piece.codePointAt(end - 1) as number) > 0xffff) end--;
        let id: number | undefined;
        while (end > at) {
          id = vocabulary.ids.get(start + piece.slice(at, end));
          if (id !== undefined) break;
          end -= end - 2 >= at && (piece.codePointAt(end - 2) as number) > 0xffff ? 2 : 1;
        }
        if (id === undefined) break;
        tokens.push(id, end);
        at = end;
      }
    }
    if (at === piece.length) return;
    tokens.length = before;
    tokens.push(unknown, piece.length);
  };

  return {
    size: vocabulary.size,
    encode,
    tokenToId: (token) => vocabulary.ids.get(token),
    idToToken: (id) => vocabulary.token(id),
  };
}

/** A vocabulary of whole words. */
export function wordLevelModel(model: TokenizerJson["model"]): SubwordModel {
  const vocabulary = new Vocabulary(new Map(Object.entries(model.vocab as Record<string, number>)));
  const unknown = vocabulary.ids.get(String(model.unk_token ?? "<unk>"));
  return {
    size: vocabulary.size,
    encode(piece, tokens) {
      const id = vocabulary.ids.get(piece) ?? unknown;
      if (id !== undefined) tokens.push(id, piece.length);
    },
    tokenToId: (token) => vocabulary.ids.get(token),
    idToToken: (id) => vocabulary.token(id),
  };
}
