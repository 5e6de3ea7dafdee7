/** The lines of a file or of standard input. */

import { createReadStream } from "node:fs";
import { unreadableFile } from "../../data/read/bytes.node.js";
import { longestValueBytes, tooLong } from "../../data/read/raw-row.js";
import { TsumikiError } from "../../errors.js";

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** A line without its line end (LF or CRLF), and its number from 1. */
export interface Line {
  readonly text: string;
  readonly number: number;
}

/** @param given `-`, or none, for standard input. A byte order mark at the beginning is removed. @throws TsumikiError DATA for bytes that are not UTF-8, naming the line */
export async function* textLines(given: string | undefined): AsyncGenerator<Line, void, undefined> {
  const file = given === "-" ? undefined : given;
  const name = file ?? "standard input";
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let parts: Buffer[] = [];
  let number = 0;
  const line = (): Line => {
    const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    parts = [];
    number++;
    if (bytes.length > longestValueBytes) throw new TsumikiError("DATA", `${name}, line ${number} ${tooLong(bytes.length)}.`);
    const end = bytes.at(-1) === carriageReturn ? bytes.length - 1 : bytes.length;
    try {
      const text = decoder.decode(bytes.subarray(0, end));
      return { text: number === 1 && text.startsWith("\uFEFF") ? text.slice(1) : text, number };
    } catch (cause) {
      throw new TsumikiError("DATA", `${name}, line ${number} is not UTF-8. Convert the text first, for example with iconv.`, {
        cause,
      });
    }
  };
  try {
    for await (const chunk of file === undefined ? process.stdin : createReadStream(file)) {
      let bytes = chunk as Buffer;
      for (let end = bytes.indexOf(lineFeed); end !== -1; end = bytes.indexOf(lineFeed)) {
        parts.push(bytes.subarray(0, end));
        yield line();
        bytes = bytes.subarray(end + 1);
      }
      if (bytes.length > 0) parts.push(bytes);
    }
  } catch (cause) {
    throw unreadableFile(name, "", cause);
  }
  if (parts.length > 0) yield line();
}
