/** What a GGUF file holds of a tokenizer. */

export interface GgufTokenizer {
  /** llama.cpp's names: byte-level BPE is "gpt2", whoever's it is; SentencePiece's BPE is "llama". */
  readonly model: "gpt2" | "llama";
  /** How "gpt2" splits texts into words. */
  readonly pre: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** Of "gpt2". */
  readonly merges: readonly string[];
  /** Of "llama": the highest is merged first. */
  readonly scores?: readonly number[];
  /** Of "llama": whether a text begins as if a space were before it. */
  readonly spacePrefix?: boolean;
  readonly bosId?: number;
  readonly eosId?: number;
  readonly padId?: number;
  readonly unknownId?: number;
  readonly addBos: boolean;
  readonly addEos: boolean;
  readonly chatTemplate?: string;
}

export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
