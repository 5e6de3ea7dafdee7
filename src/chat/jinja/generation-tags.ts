/** `{% generation %}` and `{% endgeneration %}`, the tags that transformers adds to Jinja around what the assistant says. */

/** The function that a `{% call %}` block stands for after `asCallBlocks`. */
export const generationFunction = "tsumiki_generation";

/**
 * Writes each `{% generation %}` as a `{% call %}` block, which is what transformers' own extension parses it to. The Jinja library
 * removes the tags before it parses, so this happens in the source; whitespace control (`{%-`, `-%}`) stays with the tag. Comments
 * and strings that only look like the tag are left alone.
 */
export function asCallBlocks(source: string): string {
  let result = "";
  let copied = 0;
  for (const { start, end } of statementTags(source)) {
    const [, open = "", name, close = ""] = /^(\{%[-+]?)\s*(\w+)\s*([-+]?%\})$/.exec(source.slice(start, end)) ?? [];
    if (name !== "generation" && name !== "endgeneration") continue;
    const statement = name === "generation" ? `call ${generationFunction}()` : "endcall";
    result += `${source.slice(copied, start)}${open} ${statement} ${close}`;
    copied = end;
  }
  return result + source.slice(copied);
}

/** Where the `{% ... %}` of a template stand. */
function* statementTags(source: string): Generator<{ start: number; end: number }> {
  let at = 0;
  while (at < source.length) {
    const start = source.indexOf("{", at);
    if (start === -1) return;
    const kind = source[start + 1];
    if (kind === "#") {
      const end = source.indexOf("#}", start + 2);
      at = end === -1 ? source.length : end + 2;
    } else if (kind === "%" || kind === "{") {
      const end = tagEnd(source, start + 2, kind === "%" ? "%}" : "}}");
      if (kind === "%") yield { start, end };
      at = end;
    } else at = start + 1;
  }
}

/** Behind `closing`, which counts only outside of strings and of an object's braces. */
function tagEnd(source: string, start: number, closing: "%}" | "}}"): number {
  let depth = 0;
  for (let at = start; at < source.length; at++) {
    const character = source[at];
    if (character === '"' || character === "'") at = stringEnd(source, at);
    else if (depth === 0 && source.startsWith(closing, at)) return at + 2;
    else if (character === "{") depth++;
    else if (character === "}") depth--;
  }
  return source.length;
}

/** The place of the quote that ends the string which begins at `start`. */
function stringEnd(source: string, start: number): number {
  for (let at = start + 1; at < source.length; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === source[start]) return at;
  }
  return source.length;
}
