/** Tokens named beside tokenizer.json, against AutoTokenizer: reference/named_tokens.py. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import golden from "../../reference/golden/named-tokens.json" with { type: "json" };
import { loadTokenizer, tokenizerFromJson } from "./index.js";
import { contentOf } from "./named-tokens.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-named-tokens-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function inFolder(files: Record<string, unknown>) {
  const path = await mkdtemp(join(folder, "case-"));
  for (const [name, content] of Object.entries(files))
    if (content !== undefined) await writeFile(join(path, name), `\uFEFF${JSON.stringify(content)}`);
  return path;
}

interface Case {
  readonly name: string;
  readonly json?: object;
  readonly config: object;
  readonly map?: object;
  readonly added?: object;
  readonly expected: (typeof golden.cases)[number]["expected"];
}

it.each(golden.cases as readonly Case[])("$name", async ({ json, config, map, added, expected }) => {
  const tokenizer = await loadTokenizer(
    await inFolder({
      "tokenizer.json": { ...golden.base, ...json },
      "tokenizer_config.json": config,
      "special_tokens_map.json": map,
      "added_tokens.json": added,
    }),
  );
  // As it is saved, and loaded without the files of older releases.
  const again = tokenizerFromJson(JSON.parse(JSON.stringify(tokenizer.toJSON())), tokenizer.config);
  for (const one of [tokenizer, again]) {
    expect(contentOf(one.config.eos_token) ?? null).toBe(expected.eos);
    golden.texts.forEach((text, i) => {
      const { ids, split, decoded, skipped } = expected.rows[i] as (typeof expected.rows)[number];
      expect([text, [...one.tokenize(text).ids]]).toEqual([text, ids]);
      expect([text, [...one.encode(text, { splitSpecialTokens: true })]]).toEqual([text, split]);
      expect([...one.tokenize(text, { splitSpecialTokens: true }).ids]).toEqual(split);
      expect(one.decode(ids)).toBe(decoded);
      expect(one.decode(ids, { skipSpecialTokens: true })).toBe(skipped);
    });
  }
});

it("files of another tokenizer do not speak for the one that is saved over it", async () => {
  const path = await inFolder({
    "tokenizer.json": golden.base,
    "special_tokens_map.json": { eos_token: "<x>", mask_token: "<mask>" },
    "added_tokens.json": { "<w>": 12 },
  });
  const saved = tokenizerFromJson(golden.base, { eos_token: "<eos>" });
  await saved.save(path);
  const loaded = await loadTokenizer(path);
  expect(loaded.roleIds).toEqual({ eos: 3 });
  expect(loaded.toJSON()).toEqual(saved.toJSON());
});

describe("what is malformed beside tokenizer.json is an error that names it", () => {
  it.each([
    ["tokenizer_config.json", { added_tokens_decoder: { x: { content: "a" } } }, /added_tokens_decoder\["x"\]/],
    ["tokenizer_config.json", { added_tokens_decoder: { 1: "a" } }, /added_tokens_decoder\["1"\]/],
    ["tokenizer_config.json", { added_tokens_decoder: null }, /added_tokens_decoder/],
    ["tokenizer_config.json", [1], /tokenizer_config.json does not hold an object/],
    ["added_tokens.json", { a: -1 }, /"a" in the added_tokens.json/],
    ["special_tokens_map.json", "text", /special_tokens_map.json does not hold an object/],
  ])("%s: %j", async (name, content, message) => {
    const path = await inFolder({ "tokenizer.json": golden.base, [name]: content });
    await expect(loadTokenizer(path)).rejects.toMatchObject({ code: "TOKENIZER", message: expect.stringMatching(message) });
  });
});
