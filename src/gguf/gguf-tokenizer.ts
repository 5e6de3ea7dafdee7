/** What a GGUF file holds of a tokenizer. */

export interface GgufTokenizer {
  /** llama.cpp's names: byte-level BPE is "gpt2", whoever's it is; SentencePiece's BPE is "llama", its Unigram "t5". */
  readonly model: "gpt2" | "llama" | "t5";
  /** How "gpt2" splits texts into words. */
  readonly pre: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** Of "gpt2". */
  readonly merges: readonly string[];
  /** Of "llama", where the highest is merged first, and of "t5": logarithms of probabilities. */
  readonly scores?: readonly number[];
  /** Of "llama" and "t5": whether a text begins as if a space were before it. */
  readonly spacePrefix?: boolean;
  /** Of "t5": whether several spaces count as one, those around a text as none; a text then begins as with a space. */
  readonly mergesSpaces?: boolean;
  /** Of "t5": rules by which characters are rewritten, as SentencePiece compiles them. */
  readonly charsmap?: Uint8Array;
  readonly bosId?: number;
  readonly eosId?: number;
  readonly padId?: number;
  readonly unknownId?: number;
  readonly addBos: boolean;
  readonly addEos: boolean;
  readonly chatTemplate?: string;
}

export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
