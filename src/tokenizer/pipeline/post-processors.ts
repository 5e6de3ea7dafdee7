/** The post-processors of `tokenizer.json`: what stands around one text or two. */

import { z } from "zod";
import { TsumikiError } from "../../errors.js";
import { concatenated, type Encoding, plainEncoding } from "../encoding.js";
import { stageError, stagesOption } from "../stage-options.js";
import { whiteSpace } from "../text/characters.js";
import { isTokenId, largestId, type Stage } from "../tokenizer-json.js";

export interface PostProcessor {
  /** Tokens that are added around one text, or two. */
  addedTokens(isPair: boolean): number;
  /** What becomes of the encodings of one text, or two, before they are joined. */
  process(encodings: readonly Encoding[], addSpecialTokens: boolean): readonly Encoding[];
}

const nothingAdded: PostProcessor = { addedTokens: () => 0, process: (encodings) => encodings };

export function createPostProcessor(stage: Stage | null): PostProcessor {
  if (stage === null) return nothingAdded;
  switch (stage.type) {
    case "Sequence": {
      const steps = stagesOption(stage, "processors").map(createPostProcessor);
      return {
        addedTokens: (isPair) => steps.reduce((count, step) => count + step.addedTokens(isPair), 0),
        process: (encodings, add) => steps.reduce((all, step) => step.process(all, add), encodings),
      };
    }
    case "ByteLevel": {
      const trims = stage.trim_offsets !== false;
      const hasPrefix = stage.add_prefix_space !== false;
      return { ...nothingAdded, process: (all) => (trims ? all.map((one) => withoutSpace(one, hasPrefix)) : all) };
    }
    case "BertProcessing":
      return around(stage, [["sep", 1]]);
    case "RobertaProcessing": {
      const trims = stage.trim_offsets !== false;
      const hasPrefix = stage.add_prefix_space !== false;
      const { addedTokens, process } = around(stage, [["sep", 0]], [["sep", 0]]);
      return {
        addedTokens,
        process: (all, add) => process(trims ? all.map((one) => withoutSpace(one, hasPrefix)) : all, add),
      };
    }
    case "TemplateProcessing":
      return template(stage);
    default:
      throw new TsumikiError(
        "TOKENIZER",
        `This tokenizer.json has a post-processor of type ${stage.type}, which is not known here.`,
      );
  }
}

/** A token to add: its spellings and ids. */
interface Special {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
}

type Item = { readonly sequence: 0 | 1; readonly typeId: number } | { readonly special: Special; readonly typeId: number };

function byTemplates(single: readonly Item[], pair: readonly Item[]): PostProcessor {
  const itemsFor = (isPair: boolean) => (isPair ? pair : single);
  return {
    addedTokens: (isPair) =>
      itemsFor(isPair).reduce((count, item) => count + ("special" in item ? item.special.ids.length : 0), 0),
    process(encodings, addSpecialTokens) {
      const parts = itemsFor(encodings.length > 1).flatMap((item) => {
        if ("special" in item) return addSpecialTokens ? [encodingOf(item.special, item.typeId)] : [];
        const encoding = encodings[item.sequence];
        if (!encoding) return [];
        const typed = (one: Encoding): Encoding => ({ ...one, typeIds: new Int32Array(one.ids.length).fill(item.typeId) });
        return [{ ...typed(encoding), overflowing: encoding.overflowing.map(typed) }];
      });
      // One text's windows get the same frame.
      const [first] = encodings;
      if (!first || encodings.length > 1 || first.overflowing.length === 0) return [joinedParts(parts)];
      const at = parts.findIndex(({ sequenceIds }) => sequenceIds[0] === 0);
      const windows = (parts[at]?.overflowing ?? []).map((window) =>
        concatenated(parts.map((one, i) => (i === at ? window : one))),
      );
      return [{ ...concatenated(parts), overflowing: windows }];
    },
  };
}

const joinedParts = (parts: readonly Encoding[]): Encoding => ({
  ...concatenated(parts),
  overflowing: parts.flatMap(({ overflowing }) => overflowing),
});

function encodingOf({ ids, tokens }: Special, typeId: number): Encoding {
  const plain = plainEncoding(Int32Array.from(ids), tokens, new Int32Array(2 * ids.length), -1);
  return { ...plain, typeIds: plain.typeIds.fill(typeId) };
}

/** `[CLS] A [SEP]`, and for two texts `[CLS] A [SEP] B [SEP]`. */
function around(
  stage: Stage,
  after: readonly (readonly ["sep", number])[],
  between: readonly (readonly ["sep", number])[] = [],
): PostProcessor {
  const special = (name: "cls" | "sep"): Special => {
    const [token, id] = Array.isArray(stage[name]) ? (stage[name] as unknown[]) : [];
    if (typeof token === "string" && isTokenId(id)) return { ids: [id], tokens: [token] };
    throw stageError(stage, `must have [token, id] as ${name}, but that is ${JSON.stringify(stage[name])}`);
  };
  const secondType = after[0]?.[1] ?? 0;
  const sep = special("sep");
  const first: Item[] = [
    { special: special("cls"), typeId: 0 },
    { sequence: 0, typeId: 0 },
    { special: sep, typeId: 0 },
  ];
  const separators = between.map(([, typeId]): Item => ({ special: sep, typeId }));
  return byTemplates(first, [...first, ...separators, { sequence: 1, typeId: secondType }, { special: sep, typeId: secondType }]);
}

const templateItem = z.union([
  z.object({ Sequence: z.object({ id: z.enum(["A", "B"]), type_id: z.int() }) }),
  z.object({ SpecialToken: z.object({ id: z.string(), type_id: z.int() }) }),
]);
const templateOptions = z.looseObject({
  single: z.array(templateItem),
  pair: z.array(templateItem),
  special_tokens: z.record(
    z.string(),
    z.object({ ids: z.array(z.int().nonnegative().max(largestId)), tokens: z.array(z.string()) }),
  ),
});

function template(stage: Stage): PostProcessor {
  const { success, data, error } = templateOptions.safeParse(stage);
  if (!success) throw stageError(stage, `is malformed:\n${z.prettifyError(error)}`);
  const items = (list: readonly z.infer<typeof templateItem>[]): Item[] =>
    list.map((entry): Item => {
      if ("Sequence" in entry) return { sequence: entry.Sequence.id === "A" ? 0 : 1, typeId: entry.Sequence.type_id };
      const { id, type_id: typeId } = entry.SpecialToken;
      const special = Object.hasOwn(data.special_tokens, id) ? data.special_tokens[id] : undefined;
      if (special) return { special, typeId };
      throw stageError(stage, `names ${JSON.stringify(id)}, which is not among its special_tokens`);
    });
  return byTemplates(items(data.single), items(data.pair));
}

/** Leaves the white space at the ends of tokens out of their offsets. */
function withoutSpace(encoding: Encoding, hasPrefix: boolean): Encoding {
  const offsets = encoding.offsets.slice();
  const isSpace = (character: string | undefined) =>
    character !== undefined && (character === "Ġ" || whiteSpace.includes(character));
  encoding.tokens.forEach((token, i) => {
    const characters = [...token];
    let leading = characters.findIndex((character) => !isSpace(character));
    if (leading === -1) leading = characters.length;
    let trailing = 0;
    while (trailing < characters.length && isSpace(characters.at(-1 - trailing))) trailing++;
    let start = offsets[2 * i] as number;
    let end = offsets[2 * i + 1] as number;
    if (leading > 0) {
      const wasAdded = (i === 0 || start === 0) && hasPrefix && leading === 1;
      if (!wasAdded) start = Math.min(start + leading, end);
    }
    if (trailing > 0 && end >= trailing) end = Math.max(end - trailing, start);
    offsets[2 * i] = start;
    offsets[2 * i + 1] = end;
  });
  return { ...encoding, offsets, overflowing: encoding.overflowing.map((window) => withoutSpace(window, hasPrefix)) };
}
