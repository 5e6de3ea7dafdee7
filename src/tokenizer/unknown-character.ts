import { TsumikiError } from "../errors.js";

/** Thrown by models that know neither a character nor a token for unknown ones. */
export class UnknownCharacterError extends TsumikiError {
  constructor(
    readonly character: string,
    readonly knownTokens: number,
    place = "",
  ) {
    const codePoint = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    super(
      "TOKENIZER",
      `The character ${JSON.stringify(character)} (U+${codePoint})${place} is not among the ${knownTokens} tokens of this tokenizer, ` +
        "which has none for unknown characters. Train it on a text that has the character, or train a byte-level one " +
        '(model: "bpe"), which encodes any text.',
    );
  }
}
