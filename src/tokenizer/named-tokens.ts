/**
 * Tokens, and their flags, that stand beside `tokenizer.json` and not in it: in `tokenizer_config.json`, `special_tokens_map.json` and
 * `added_tokens.json`. They join its added tokens in the order and with the ids that transformers 5 gives them.
 */

import { TsumikiError } from "../errors.js";
import type { TokenizerConfig } from "./tokenizer.js";
import { type AddedToken, isTokenId, type ScoredTokens, type TokenizerJson } from "./tokenizer-json.js";

/** Files of older releases beside `tokenizer.json`. */
export interface FilesBeside {
  /** The content of `special_tokens_map.json`. */
  readonly specialTokensMap?: Readonly<Record<string, unknown>> | undefined;
  /** The content of `added_tokens.json`. */
  readonly addedTokens?: Readonly<Record<string, unknown>> | undefined;
}

export const tokenRoles = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"] as const;
export type TokenRole = (typeof tokenRoles)[number];

const roles: readonly string[] = tokenRoles.map((role) => `${role}_token`);

type NewToken = Pick<AddedToken, "content" | "single_word" | "lstrip" | "rstrip" | "normalized" | "special">;

/**
 * `tokenizer_config.json` with what `special_tokens_map.json` says as well. Where the config lists its added tokens, transformers reads
 * neither of the older files.
 */
export function withSpecialTokensMap(config: TokenizerConfig, { specialTokensMap }: FilesBeside): TokenizerConfig {
  return specialTokensMap === undefined || "added_tokens_decoder" in config ? config : { ...config, ...specialTokensMap };
}

/** The files of older releases that say what `json` and `config` say. */
export const olderFiles = (json: TokenizerJson, config: TokenizerConfig): Record<string, object> => ({
  "special_tokens_map.json": Object.fromEntries(
    [...roles, "extra_special_tokens", "additional_special_tokens"].flatMap((name) =>
      config[name] === undefined || config[name] === null ? [] : [[name, config[name]]],
    ),
  ),
  "added_tokens.json": Object.fromEntries(json.added_tokens.map(({ content, id }) => [content, id])),
});

/** The content of a token that is written as a text or as an object. */
export function contentOf(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === "string" ? content : undefined;
}

/** The ids of tokens with a role, of those that the vocabulary has. */
export function roleIdsOf(
  config: TokenizerConfig,
  tokenToId: (token: string) => number | undefined,
): Partial<Record<TokenRole, number>> {
  const ids: Partial<Record<TokenRole, number>> = {};
  for (const role of tokenRoles) {
    const content = contentOf(config[`${role}_token`]);
    const id = content === undefined ? undefined : tokenToId(content);
    if (id !== undefined) ids[role] = id;
  }
  return ids;
}

/** `json` with the tokens that are named beside it, as transformers' `TokenizersBackend` adds them when it loads a folder. */
export function withNamedTokens(json: TokenizerJson, config: TokenizerConfig, { addedTokens }: FilesBeside = {}): TokenizerJson {
  const extra = extraTokens(config);
  const named = namedTokens(json, config);
  const namedContents = new Set(named.map(contentOf));
  const listed = "added_tokens_decoder" in config ? listedTokens(config) : olderTokens(json, addedTokens, [...named, ...extra]);
  // A token that is listed too has the flags of the list, wherever it is named.
  const flags = new Map(listed.map((token) => [token.content, token]));
  const known = new Set([...json.added_tokens.map(({ content }) => content), ...flags.keys()]);
  const joining = [...listed];
  const join = (token: unknown, role: "named" | "extra") => {
    const content = contentOf(token);
    if (content === undefined || content === "" || known.has(content)) return;
    known.add(content);
    joining.push(tokenFrom(token, { special: role === "named" || typeof token === "string" }));
  };
  for (const token of named) join(token, "named");
  for (const token of extra) join(token, "extra");
  return {
    ...json,
    added_tokens: added(
      json,
      joining.map((token) => (namedContents.has(token.content) ? { ...token, special: true } : token)),
    ),
  };
}

/** Tokens with a role: `eos_token` and its like, and those of a model's own, as `image_token`. */
function namedTokens(json: TokenizerJson, config: TokenizerConfig): unknown[] {
  const padding = (json.padding as { pad_token?: unknown } | null | undefined)?.pad_token;
  const ofRoles = roles.map((role) => config[role] ?? (role === "pad_token" ? padding : undefined));
  const ofModel = Object.entries(config)
    .filter(([name, value]) => name.endsWith("_token") && !roles.includes(name) && contentOf(value) !== undefined)
    .map(([, token]) => token);
  const { extra_special_tokens: extra } = config;
  const ofRecord = typeof extra === "object" && extra !== null && !Array.isArray(extra) ? Object.values(extra) : [];
  return [...ofRoles, ...ofModel, ...ofRecord];
}

function extraTokens({ extra_special_tokens: extra, additional_special_tokens: additional }: TokenizerConfig): unknown[] {
  const hasExtra = Array.isArray(extra) ? extra.length > 0 : extra !== undefined && extra !== null;
  const list = hasExtra ? extra : additional;
  return Array.isArray(list) ? list : [];
}

/** `added_tokens_decoder` in the order of its ids. The ids themselves count for nothing: a token has its own, or gets the next one. */
function listedTokens({ added_tokens_decoder: listed }: TokenizerConfig): NewToken[] {
  if (typeof listed !== "object" || listed === null)
    throw malformed("tokenizer_config.json", "added_tokens_decoder", "is no object of id: token");
  return Object.entries(listed)
    .map(([id, token]) => {
      if (!/^\d+$/.test(id) || !isTokenId(Number(id)) || contentOf(token) === undefined || typeof token === "string")
        throw malformed("tokenizer_config.json", `added_tokens_decoder[${JSON.stringify(id)}]`, "is no added token");
      return { id: Number(id), token: tokenFrom(token) };
    })
    .sort((a, b) => a.id - b.id)
    .map(({ token }) => token);
}

/** `added_tokens.json` and the added tokens of `tokenizer.json`, in the order of their ids; of two with one id the latter. */
function olderTokens(json: TokenizerJson, addedTokens: FilesBeside["addedTokens"], special: readonly unknown[]): NewToken[] {
  const contents = new Set(special.map(contentOf));
  const byId = new Map<number, NewToken>();
  for (const [content, id] of Object.entries(addedTokens ?? {})) {
    if (!isTokenId(id)) throw malformed("added_tokens.json", JSON.stringify(content), "has no id, a whole number");
    byId.set(id, tokenFrom({ content, special: contents.has(content) }));
  }
  for (const { id, ...token } of json.added_tokens) byId.set(id, tokenFrom(token));
  return [...byId].sort(([a], [b]) => a - b).map(([, token]) => token);
}

const malformed = (file: string, place: string, fault: string) =>
  new TsumikiError("TOKENIZER", `${place} in the ${file} of this tokenizer ${fault}.`);

/** A token from a text or an object; what is special is not normalized unless it says so. */
function tokenFrom(token: unknown, fallback: { special?: boolean } = {}): NewToken {
  const options = typeof token === "object" && token !== null ? (token as Partial<AddedToken>) : {};
  const isSpecial = options.special ?? fallback.special ?? false;
  return {
    content: contentOf(token) as string,
    single_word: options.single_word === true,
    lstrip: options.lstrip === true,
    rstrip: options.rstrip === true,
    normalized: options.normalized ?? !isSpecial,
    special: isSpecial,
  };
}

/**
 * The added tokens of `json` and more, as Rust's `add_tokens` numbers them: a token of the vocabulary keeps its id, others count on from
 * the vocabulary's size, whatever the file says. One that is there already takes the new flags, but stays special once it was.
 */
function added({ added_tokens: own, model: { vocab } }: TokenizerJson, more: readonly NewToken[]): AddedToken[] {
  const idInVocabulary = lookUpIn(vocab);
  const size = Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
  const result = new Map<string, AddedToken>();
  let largest = -1;
  for (const token of [...own, ...more]) {
    if (token.content === "") continue;
    const before = result.get(token.content);
    const id = before?.id ?? idInVocabulary(token.content) ?? Math.max(largest + 1, size);
    largest = Math.max(largest, id);
    result.set(token.content, { ...before, ...token, special: token.special || before?.special === true, id });
  }
  return [...result.values()];
}

function lookUpIn(vocab: TokenizerJson["model"]["vocab"]): (token: string) => number | undefined {
  if (!isScored(vocab)) return (token) => (Object.hasOwn(vocab, token) ? vocab[token] : undefined);
  const ids = new Map(vocab.map(([token], id) => [token, id]));
  return (token) => ids.get(token);
}
const isScored = (vocab: TokenizerJson["model"]["vocab"]): vocab is ScoredTokens => Array.isArray(vocab);
