/** The pre-tokenizers of `tokenizer.json`: they cut a text into the pieces that the model encodes one by one. */

import { TsumikiError } from "../../errors.js";
import { byteLevelText } from "../byte-alphabet.js";
import { literalMatcher, patternOf } from "../oniguruma/pattern.js";
import { characterOption, countOption, stagesOption } from "../stage-options.js";
import { type AlignedText, replaceCharacters, replaceMatches } from "../text/aligned-text.js";
import { characterClass } from "../text/characters.js";
import type { Stage } from "../tokenizer-json.js";
import { characterMatcher, cutAround, cutBefore, cutEvery, cutLikeBert, cutWordsAndSymbols, splitBehavior } from "./cutters.js";
import { prepend } from "./normalizers.js";
import { type Cutter, gpt2Pattern, scannerFor } from "./scanners.js";

/** One pre-tokenizer: a text is rewritten, then cut. */
export interface PreTokenizerStage {
  readonly rewrite?: (source: AlignedText, isFirst: boolean) => AlignedText;
  readonly cut?: Cutter;
  /** Whether `rewrite` treats a text differently that begins where the original does. */
  readonly looksAtStart?: boolean;
}

export interface PreTokenizer {
  readonly stages: readonly PreTokenizerStage[];
  /** Each piece is at last written as the visible characters of its bytes. */
  readonly byteLevel: boolean;
}

export function createPreTokenizer(stage: Stage | null): PreTokenizer {
  const stages = stage === null ? [] : stagesOf(stage);
  const last = stages.at(-1);
  // The bytes of a piece follow from the piece: so pieces can be looked up before they are written as bytes.
  if (last === toBytes) return { stages: stages.slice(0, -1), byteLevel: true };
  return { stages, byteLevel: false };
}

const toBytes: PreTokenizerStage = {
  rewrite: (source) =>
    source.alignment
      ? replaceCharacters(source, (code) => byteLevelText(String.fromCodePoint(code)))
      : { text: byteLevelText(source.text), alignment: undefined },
};

function stagesOf(stage: Stage): PreTokenizerStage[] {
  switch (stage.type) {
    case "Sequence":
      return stagesOption(stage, "pretokenizers").flatMap(stagesOf);
    case "ByteLevel": {
      const prefix: PreTokenizerStage = {
        rewrite: (source) => (source.text.startsWith(" ") ? source : prepend(source, " ")),
      };
      const cut = scannerFor(gpt2Pattern);
      return [
        ...(stage.add_prefix_space === false ? [] : [prefix]),
        ...(stage.use_regex === false || !cut ? [] : [{ cut }]),
        toBytes,
      ];
    }
    case "Split": {
      const behavior = splitBehavior(stage.behavior);
      const { Regex: source } = (stage.pattern ?? {}) as { Regex?: string };
      const covering = stage.invert === true ? behavior === "Removed" : behavior === "Isolated";
      const scanner = covering && source !== undefined ? scannerFor(source) : undefined;
      return [{ cut: scanner ?? cutAround(patternOf(stage.pattern), behavior, stage.invert === true) }];
    }
    case "Metaspace":
      return [metaspace(stage)];
    case "BertPreTokenizer":
      return [{ cut: cutLikeBert }];
    case "Whitespace":
      return [{ cut: cutWordsAndSymbols }];
    case "WhitespaceSplit":
      return [{ cut: cutAround(characterMatcher(characterClass.whiteSpace), "Removed") }];
    case "Punctuation":
      return [{ cut: cutAround(characterMatcher(characterClass.punctuation), splitBehavior(stage.behavior ?? "Isolated")) }];
    case "Digits":
      return [
        { cut: cutAround(characterMatcher(characterClass.number), stage.individual_digits === true ? "Isolated" : "Contiguous") },
      ];
    case "CharDelimiterSplit":
      return [{ cut: cutAround(literalMatcher(characterOption(stage, "delimiter")), "Removed") }];
    case "FixedLength":
      return [{ cut: cutEvery(countOption(stage, "length", 1, 5)) }];
    default:
      throw new TsumikiError(
        "TOKENIZER",
        `This tokenizer.json has a pre-tokenizer of type ${stage.type}, which is not known here.`,
      );
  }
}

const spaces = literalMatcher(" ");

/** SentencePiece's way with spaces: they become a visible character, which begins the words. */
function metaspace(stage: Stage): PreTokenizerStage {
  const mark = characterOption(stage, "replacement", "▁");
  const scheme = stage.add_prefix_space === false ? "never" : String(stage.prepend_scheme ?? "always");
  return {
    rewrite(source, isFirst) {
      const marked = replaceMatches(source, spaces, mark);
      const wanted = scheme === "always" || (scheme === "first" && isFirst);
      return wanted && !marked.text.startsWith(mark) ? prepend(marked, mark) : marked;
    },
    looksAtStart: scheme === "first",
    ...(stage.split === false ? {} : { cut: cutBefore(mark) }),
  };
}

/** Calls `visit` with the pieces of `source`: ranges of a text, with its alignment. */
export function preTokenize(
  stages: readonly PreTokenizerStage[],
  source: AlignedText,
  isFirst: boolean,
  visit: (source: AlignedText, start: number, end: number) => void,
): void {
  const [stage, ...rest] = stages;
  if (!stage) {
    if (source.text !== "") visit(source, 0, source.text.length);
    return;
  }
  const rewritten = stage.rewrite ? stage.rewrite(source, isFirst) : source;
  if (!stage.cut) preTokenize(rest, rewritten, isFirst, visit);
  else if (rest.length === 0) stage.cut(rewritten.text, (start, end) => visit(rewritten, start, end));
  else stage.cut(rewritten.text, (start, end) => preTokenize(rest, slice(rewritten, start, end), isFirst && start === 0, visit));
}

export function slice({ text, alignment }: AlignedText, start: number, end: number): AlignedText {
  return {
    text: text.slice(start, end),
    alignment: alignment && {
      starts: alignment.starts.subarray(start, end),
      ends: alignment.ends.subarray(start, end),
      origin: alignment.starts[start] ?? alignment.origin,
    },
  };
}
