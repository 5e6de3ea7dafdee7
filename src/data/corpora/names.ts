/** One thing said in many languages. */

import { type RowRecipe, splitByHash } from "./card.js";

export interface EmojiNames {
  /** An emoji, or another symbol. */
  readonly symbol: string;
  /** Its short name in each language, by the language's tag: { en: "grinning face", de: "grinsendes Gesicht", ... }. */
  readonly names: Readonly<Record<string, string>>;
}

export const emojiNames: RowRecipe<EmojiNames> = {
  card: {
    name: "emoji-names",
    kind: "rows",
    description: "CLDR's short names of emoji and symbols in more than a hundred languages: parallel short texts.",
    languages: ["mul"],
    license: "Unicode-3.0",
    source: "Unicode Common Locale Data Repository",
    package: "cldr-annotations-full",
    version: "48.2.0",
    integrity: "sha512-DV7A+rEcgUSNTRsVGNGqBZRmAkGfwhGHO5Q1dRwzBoBnVrHWp804JP7/QJdEc66iHmx3+zLWVIMCFLm0lW7PUQ==",
    packageBytes: 6_537_823,
    bytes: 7_344_397,
    sha256: "0439cb5f46f03d66f27f4b3b1fa015cca05de283ffdc4c51586ceee595b23207",
    splits: { train: 1_771, validation: 89, test: 106 },
    fields: { symbol: "emoji or symbol", names: "name by language" },
    splitBy: "hash of the symbol",
  },
  wants: (path) => /^annotations\/[^/]+\/annotations\.json$/.test(path),
  *rows(files) {
    const bySymbol = new Map<string, Record<string, string>>();
    for (const path of files.paths) {
      const language = path.split("/")[1] as string;
      const { annotations } = JSON.parse(files.text(path)) as AnnotationsJson;
      for (const [symbol, { tts }] of Object.entries(annotations.annotations ?? {})) {
        if (!tts?.[0]) continue;
        const names = bySymbol.get(symbol) ?? {};
        names[language] = tts[0];
        bySymbol.set(symbol, names);
      }
    }
    for (const symbol of [...bySymbol.keys()].sort()) yield { symbol, names: bySymbol.get(symbol) ?? {} };
  },
  parse: (row) => row,
  splitOf: ({ symbol }) => splitByHash(symbol),
};

interface AnnotationsJson {
  /** Left out where a language has the names of another. */
  readonly annotations: { readonly annotations?: Readonly<Record<string, { readonly tts?: readonly string[] }>> };
}
