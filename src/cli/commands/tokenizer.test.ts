import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { loadTokenizer } from "../../tokenizer/index.js";
import { runProgram } from "../program.js";
import * as tokenizer from "./tokenizer.js";

const text = "The white whale, the white whale!\r\nIt sank the ship; 白鲸 sank it twice.\n\n".repeat(30);
let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-tokenizer-cli-"));
  file = join(folder, "whale.txt");
  await writeFile(file, text);
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

async function run(...parameters: readonly string[]): Promise<Outcome> {
  const output: string[] = [];
  const errors: string[] = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => void output.push(`${line}\n`));
  vi.spyOn(console, "error").mockImplementation((line: string) => void errors.push(`${line}\n`));
  const write = (to: string[]) =>
    ((chunk: string | Uint8Array) => {
      to.push(String(chunk));
      return true;
    }) as typeof process.stdout.write;
  vi.spyOn(process.stdout, "write").mockImplementation(write(output));
  vi.spyOn(process.stderr, "write").mockImplementation(write(errors));
  const code = await runProgram(["tokenizer", ...parameters], [tokenizer]);
  vi.restoreAllMocks();
  return { code, output: output.join(""), errors: errors.join("") };
}

const trained = async (name = "made", ...flags: readonly string[]): Promise<string> => {
  const out = join(folder, name);
  const given = flags.length > 0 ? flags : ["--model", "bpe", "--vocab-size", "300"];
  const { code, errors } = await run("train", ...given, "--out", out, file);
  expect(errors).toBe("");
  expect(code).toBe(0);
  return out;
};

it("trains each kind, into a folder that appears when it is complete", async () => {
  for (const [name, ...flags] of [
    ["bpe", "--model", "bpe", "--vocab-size", "300", "--preset", "minimind"],
    ["characters", "--model", "bpe", "--level", "character", "--vocab-size", "80"],
    ["wordpiece", "--model", "wordpiece", "--vocab-size", "80"],
    ["likelihood", "--model", "wordpiece", "--by", "likelihood", "--vocab-size", "80"],
    ["unigram", "--model", "unigram", "--vocab-size", "60"],
  ] as const) {
    const out = await trained(name, ...flags);
    expect((await readdir(out)).sort()).toEqual(["tokenizer.json", "tokenizer_config.json"]);
    expect((await loadTokenizer(out)).encode("the white whale").length).toBeGreaterThan(0);
  }
  expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
});

it("reads rows and compressed files, counts empty documents and stops at rows that are wrong", async () => {
  const rows = join(folder, "rows.jsonl.gz");
  await writeFile(rows, gzipSync(`{"text": ${JSON.stringify(text)}}\n{"text": ""}\n{"text": 5}\n`));
  const train = ["train", "--model", "bpe", "--vocab-size", "300", "--out", join(folder, "rows"), rows];
  const stopped = await run(...train);
  expect([stopped.code, stopped.errors]).toEqual([1, expect.stringMatching(/rows\.jsonl\.gz, line 2/)]);
  expect(await readdir(folder)).not.toContain("rows");
  const skipped = await run(...train, "--on-bad-row", "skip");
  expect(skipped.code).toBe(0);
  expect(skipped.errors).toMatch(/bad rows? w(as|ere) left out/);
  await writeFile(rows, gzipSync('{"text": ""}\n'));
  const nothing = await run(...train, "--on-bad-row", "skip", "--overwrite");
  expect([nothing.code, nothing.errors]).toEqual([1, expect.stringMatching(/1 bad row was left out[\s\S]*is empty/)]);
});

it("encodes each line, and decodes the other way", async () => {
  const out = await trained();
  const lines = ["the white whale", "", "白鲸\0 \u{1f40b}", "last"];
  const source = join(folder, "lines.txt");
  await writeFile(source, `\uFEFF${lines.join("\n")}`);
  const { code, output } = await run("encode", out, source);
  expect(code).toBe(0);
  const arrays = output.trimEnd().split("\n");
  expect(arrays).toHaveLength(lines.length);
  const made = await loadTokenizer(out);
  arrays.forEach((ids, i) => {
    expect(JSON.parse(ids)).toEqual([...made.encode(lines[i] as string)]);
  });
  const ids = join(folder, "ids.txt");
  await writeFile(ids, output);
  expect((await run("decode", out, ids)).output).toBe(`${lines.join("\n")}\n`);
});

it("encodes the spelling of special tokens where it is asked to", async () => {
  const made = await trained("special", "--model", "bpe", "--vocab-size", "300", "--preset", "minimind");
  const line = join(folder, "line.txt");
  await writeFile(line, "the<|im_end|>");
  const whole = JSON.parse((await run("encode", made, line)).output) as number[];
  const split = JSON.parse((await run("encode", made, line, "--split-special")).output) as number[];
  expect(whole.at(-1)).toBe(2);
  expect(split).not.toContain(2);
  expect((await loadTokenizer(made)).decode(split)).toBe("the<|im_end|>");
});

it("shows pieces in colour, or apart where colours are not wanted", async () => {
  const out = await trained();
  const source = join(folder, "line.txt");
  await writeFile(source, "the white 🐋");
  const coloured = (await run("encode", out, "--pieces", source)).output;
  expect(coloured).toContain("\u001b[");
  expect(stripVTControlCharacters(coloured).replace(/[₀-₉]/g, "")).toBe("the white 🐋\n");
  vi.stubEnv("NO_COLOR", "1");
  const plain = (await run("encode", out, "--pieces", source)).output;
  expect(plain).not.toContain("\u001b[");
  expect(plain.replace(/[·₀-₉]/g, "")).toBe("the white 🐋\n");
});

it("compares two tokenizers on the same text", async () => {
  const [small, large] = [await trained("small", "--model", "bpe", "--vocab-size", "260"), await trained("large")];
  const { output } = await run("compare", small, large, file, "--json");
  const { documents, bytes, tokenizers } = JSON.parse(output);
  expect([documents, bytes]).toEqual([1, Buffer.byteLength(text)]);
  expect(tokenizers[0]).toMatchObject({ folder: small, vocabSize: 260, changedDocuments: 0 });
  expect(tokenizers[1].bytesPerToken).toBeGreaterThan(tokenizers[0].bytesPerToken);
  expect((await run("compare", small, large, file)).output).toMatch(/bytes per token/);
});

it.each([
  [["train", "--model", "bpe", "--out", "x"], /missing required argument|file/],
  [["train", "--model", "oracle", "--out", "x", "y"], /Allowed choices/],
  [["train", "--model", "unigram", "--preset", "gpt2", "--vocab-size", "300", "--out", "OUT", "FILE"], /does not go with/],
  [["train", "--model", "unigram", "--by", "likelihood", "--vocab-size", "300", "--out", "OUT", "FILE"], /--by goes with/],
  [["train", "--model", "bpe", "--vocab-size", "10", "--out", "OUT", "FILE"], /at least 256/],
  [["train", "--model", "bpe", "--vocab-size", "300", "--out", "OUT", "ABSENT"], /ABSENT|no file/i],
  [["encode", "ABSENT"], /no tokenizer/],
] as const)("says what is wrong: %j", async (parameters, message) => {
  const filled = parameters.map((parameter) => parameter.replace("OUT", join(folder, "out")).replace("FILE", file));
  const { code, errors } = await run(...filled);
  expect(code).toBe(1);
  expect(errors).toMatch(message);
  expect(await readdir(folder)).not.toContain("out");
});

it("does not replace a tokenizer unasked, and names lines that are not UTF-8 or no ids", async () => {
  const out = await trained();
  const again = ["train", "--model", "bpe", "--vocab-size", "270", "--out", out, file];
  expect((await run(...again)).errors).toMatch(/--overwrite/);
  expect((await run(...again, "--overwrite")).code).toBe(0);
  expect((await loadTokenizer(out)).vocabSize).toBe(270);
  const latin = join(folder, "latin.txt");
  await writeFile(latin, Buffer.from("fine\ncaf\xe9\n", "latin1"));
  expect((await run("encode", out, latin)).errors).toMatch(/latin\.txt, line 2 is not UTF-8/);
  expect((await run("train", "--model", "bpe", "--vocab-size", "300", "--out", join(folder, "l"), latin)).errors).toMatch(
    /UTF-8/,
  );
  const ids = join(folder, "ids.txt");
  for (const wrong of ["[1, 99999]", "[1.5]", "{}", "1, 2"]) {
    await writeFile(ids, `[1]\n${wrong}\n`);
    expect((await run("decode", out, ids)).errors).toMatch(/ids\.txt, line 2/);
  }
});
