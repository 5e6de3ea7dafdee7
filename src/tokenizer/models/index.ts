import { TsumikiError } from "../../errors.js";
import type { TokenizerJson } from "../tokenizer-json.js";
import { bpeModel } from "./bpe.js";
import type { SubwordModel } from "./model.js";
import { type UnigramModel, unigramModel } from "./unigram.js";
import { wordLevelModel, wordPieceModel } from "./wordpiece.js";

export interface CreatedModel {
  readonly model: SubwordModel;
  /** The same, where it is a language model whose segmentations can be listed and drawn. */
  readonly unigram: UnigramModel | undefined;
}

/** The model of a `tokenizer.json`; old files name no type. */
export function createModel({ model }: TokenizerJson): CreatedModel {
  const isList = Array.isArray(model.vocab);
  const type =
    model.type ??
    (isList ? "Unigram" : "merges" in model ? "BPE" : "max_input_chars_per_word" in model ? "WordPiece" : "WordLevel");
  if ((type === "Unigram") !== isList)
    throw new TsumikiError(
      "TOKENIZER",
      `A ${type} model's vocab is ${type === "Unigram" ? "a list of [token, score]" : "an object of token: id"}, but this tokenizer.json has another.`,
    );
  switch (type) {
    case "BPE":
      return { model: bpeModel(model), unigram: undefined };
    case "WordPiece":
      return { model: wordPieceModel(model), unigram: undefined };
    case "WordLevel":
      return { model: wordLevelModel(model), unigram: undefined };
    case "Unigram": {
      const unigram = unigramModel(model);
      return { model: unigram, unigram };
    }
    default:
      throw new TsumikiError(
        "TOKENIZER",
        `This tokenizer.json has a model of type ${type}, but only BPE, WordPiece, Unigram and WordLevel can be used here.`,
      );
  }
}
