/** The pieces of a text, side by side in alternating colours. */

import { styleText } from "node:util";
import { allControlsShown } from "../../runs/control-pictures.js";
import type { Tokenizer } from "../../tokenizer/index.js";

const colours = ["bgBlue", "bgMagenta", "bgCyan", "bgYellow", "bgGreen"] as const;

/** Without colours (`NO_COLOR`) a middle dot stands between pieces. */
export function describePieces(tokenizer: Tokenizer, ids: ArrayLike<number>, coloured: boolean): string {
  const stream = tokenizer.decodeStream();
  const special = new Set(tokenizer.specialTokens);
  const shown: string[] = [];
  let tokens = 0;
  let colour = 0;
  const show = (text: string, isSpecial: boolean) => {
    const visible = allControlsShown(text) + (tokens > 1 ? subscript(tokens) : "");
    tokens = 0;
    if (!coloured) shown.push(visible);
    else if (isSpecial) shown.push(styleText(["bold", "red"], visible));
    else shown.push(styleText(["black", colours[colour++ % colours.length] ?? "bgBlue"], visible));
  };
  for (let i = 0; i < ids.length; i++) {
    tokens++;
    const text = stream.push(ids[i] as number);
    if (text !== "") show(text, special.has(tokenizer.idToToken(ids[i] as number) ?? ""));
  }
  const rest = stream.end();
  if (rest !== "") show(rest, false);
  return shown.join(coloured ? "" : "·");
}

/** How many tokens make up the characters before it. */
const subscript = (number: number): string =>
  [...String(number)].map((digit) => String.fromCharCode(0x2080 + Number(digit))).join("");
