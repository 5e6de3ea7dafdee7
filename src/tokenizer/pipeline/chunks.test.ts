import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Tokenizer, tokenizerFromJson, trainTokenizer } from "../index.js";
import type { Stage, TokenizerJson } from "../tokenizer-json.js";
import { chunkCutter } from "./chunks.js";
import { createNormalizer } from "./normalizers.js";

/** Words with every kind of space between them, and with what joins them across a border or becomes a space itself. */
const spacedText = fc
  .array(
    fc.constantFrom(
      ...[
        "the",
        "whale",
        "if (x) {",
        "return",
        "鲸鱼",
        "é",
        "\u0301",
        "\u0308a",
        "ﬁ",
        "▁",
        "한",
        "\u1100",
        "\u1161",
        "\u200d",
        "🐳",
        "\ufffd",
      ],
      ...[
        " ",
        "  ",
        "   ",
        "\n",
        "\n    ",
        "\r\n",
        "\t",
        "\n\n\t",
        "\f",
        "\u000b",
        "\u0085",
        "\u00a0",
        "\u2028",
        "\u3000",
        "\u200b",
      ],
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

const collapse: Stage = { type: "Replace", pattern: { Regex: " {2,}" }, content: " " };
const normalizers: Record<string, readonly Stage[]> = {
  "SentencePiece's": [{ type: "Nmt" }, { type: "NFKC" }, collapse],
  "SentencePiece's, spaces first": [collapse, { type: "Nmt" }],
  "one that keeps line ends": [{ type: "NFKC" }, collapse],
  "one that keeps runs of spaces": [{ type: "Nmt" }, { type: "NFKD" }],
};

let json: TokenizerJson;
beforeAll(async () => {
  const text = "the whale returns; if (x) { return the sea } 鲸鱼 é ﬁ\n\tthe  whale".repeat(4);
  json = (await trainTokenizer(text, { model: "unigram", preset: "t5", vocabSize: 60 })).toJSON();
});

describe.each(Object.entries(normalizers))("with %s normalizer", (_, stages) => {
  let tokenizer: Tokenizer;
  const normalizer = { type: "Sequence", normalizers: stages } as Stage;
  beforeAll(() => {
    tokenizer = tokenizerFromJson({ ...json, normalizer });
  });

  it("gives a text in chunks the ids that it has as a whole", () => {
    fc.assert(
      fc.property(spacedText, (text) => {
        expect([...tokenizer.encode(text)]).toEqual([...tokenizer.tokenize(text, { addSpecialTokens: false }).ids]);
      }),
      { numRuns: 500 },
    );
  });

  it("cuts a line of a program into words where line ends become spaces", () => {
    const chunks: string[] = [];
    const program = "if (x) {\n\treturn  y;\n}\n";
    chunkCutter({ ...json, normalizer }, createNormalizer(normalizer))?.(program, (start, end) => {
      chunks.push(program.slice(start, end));
    });
    const spaced = stages.some(({ type }) => type === "Nmt");
    expect(chunks).toEqual(
      spaced ? ["if", " (x)", " {", "\n\treturn", "  y;", "\n}\n"] : ["if", " (x)", " {\n\treturn", "  y;\n}\n"],
    );
  });
});
