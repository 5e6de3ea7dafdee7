/** `tsumiki tokenizer encode` and `decode`: line by line. */

import { once } from "node:events";
import { TsumikiError } from "../../errors.js";
import { loadTokenizer, type Tokenizer } from "../../tokenizer/index.js";
import { describePieces } from "./pieces.js";
import { type Line, textLines } from "./text-lines.js";

interface EncodeFlags {
  readonly special?: boolean;
  readonly splitSpecial?: boolean;
  readonly pieces?: boolean;
}

interface DecodeFlags {
  readonly skipSpecial?: boolean;
  readonly pieces?: boolean;
}

export async function encodeCommand(
  folder: string,
  file: string | undefined,
  { special = false, splitSpecial, pieces = false }: EncodeFlags,
) {
  const tokenizer = await loadTokenizer(folder);
  const options = splitSpecial ? { splitSpecialTokens: true } : {};
  await eachLine(file, ({ text }) => {
    const ids = special ? tokenizer.tokenize(text, options).ids : tokenizer.encode(text, options);
    return pieces ? [describePieces(tokenizer, ids, showsColours())] : jsonOf(ids);
  });
}

export async function decodeCommand(
  folder: string,
  file: string | undefined,
  { skipSpecial = false, pieces = false }: DecodeFlags,
) {
  const tokenizer = await loadTokenizer(folder);
  await eachLine(file, (line) => {
    const ids = idsOf(line, file ?? "standard input", tokenizer);
    return [pieces ? describePieces(tokenizer, ids, showsColours()) : tokenizer.decode(ids, { skipSpecialTokens: skipSpecial })];
  });
}

/** Colour is what was asked for: also in a pipe, but not where it is unwelcome everywhere. */
const showsColours = (): boolean => !process.env.NO_COLOR;

/** Ids that are written together: the text of a very long line's would not fit into one string. */
const idsAtOnce = 1 << 16;

/** A JSON array, in parts. */
function* jsonOf(ids: Int32Array): Generator<string, void, undefined> {
  yield "[";
  for (let at = 0; at < ids.length; at += idsAtOnce) yield `${at === 0 ? "" : ","}${ids.subarray(at, at + idsAtOnce).join(",")}`;
  yield "]";
}

/** Writes the parts of each line's answer as a line. */
async function eachLine(file: string | undefined, answer: (line: Line) => Iterable<string>): Promise<void> {
  for await (const line of textLines(file)) {
    let waiting = "";
    for (const part of answer(line)) {
      waiting += part;
      if (waiting.length < idsAtOnce) continue;
      await written(waiting);
      waiting = "";
    }
    await written(`${waiting}\n`);
  }
}

async function written(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}

function idsOf({ text, number }: Line, name: string, { vocabSize, idToToken }: Tokenizer): readonly number[] {
  const problem = (what: string) => new TsumikiError("DATA", `${name}, line ${number}: ${what}`);
  let ids: unknown;
  try {
    ids = JSON.parse(text);
  } catch (cause) {
    throw problem(`expected a JSON array of ids, such as [1, 2, 3]: ${(cause as Error).message}`);
  }
  if (!Array.isArray(ids)) throw problem("expected a JSON array of ids, such as [1, 2, 3].");
  for (const id of ids as unknown[])
    if (!Number.isInteger(id) || idToToken(id as number) === undefined)
      throw problem(`${JSON.stringify(id)} is no id of this tokenizer, which has ${vocabSize} tokens.`);
  return ids as number[];
}
