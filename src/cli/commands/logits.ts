/** `tsumiki logits`: what a model computes for given tokens or pictures, at its end or on the way there. */

import type { Command } from "commander";
import type { HostArray } from "../../graph/host-array.js";
import { revisionFlag } from "../revision-flag.js";
import { tokenIds } from "../token-ids.js";

interface LogitsFlags {
  readonly ids?: readonly number[];
  readonly tokenTypeIds?: readonly number[];
  readonly mask?: readonly number[];
  readonly decoderIds?: readonly number[];
  readonly pixels?: string;
  readonly output?: string;
  readonly layer?: string;
  readonly save?: string;
  readonly revision?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("logits")
    .description("print what a model computes for given tokens or pictures: its main output, or any named value")
    .argument(
      "<model>",
      "a Hugging Face directory of any kind of model, a GGUF file, or the name of a model on the hub (org/name)",
    )
    .option("--ids <list>", "token ids, such as 1,2,3", tokenIds)
    .option("--token-type-ids <list>", "the sentence of each token, such as 0,0,1", tokenIds)
    .option("--mask <list>", "1 for each token that is real and 0 for padding, such as 1,1,0", tokenIds)
    .option("--decoder-ids <list>", "token ids of the decoder, for models that have an encoder too", tokenIds)
    .option("--pixels <file>", "a safetensors file with one tensor, [batch, channels, height, width]")
    .option("--output <name>", "another output than the main one, such as poolerOutput")
    .option("--layer <name>", "a value on the way instead, such as layers.0.selfAttn.output")
    .option("--save <file>", "write all values, with the ids as input_ids, into a safetensors file that compare reads")
    .option(...revisionFlag)
    .option("--json", 'print {"shape": [...], "data": [...]}')
    .action(logits);
}

async function logits(source: string, { layer, output, save, revision, json = false, ...flags }: LogitsFlags): Promise<void> {
  const { openModel } = await import("../saved-model.js");
  const { modelValues, outputNames } = await import("../../inspect/index.js");
  const inputs = await inputsOf(flags);
  const model = await openModel(source, revision);
  if (save !== undefined) await saveValues(save, flags.ids, await modelValues(model, inputs, ["**", ...outputNames(model)]));
  const asked = layer ?? output;
  const values = await modelValues(model, inputs, asked === undefined ? undefined : [asked]);
  for (const [name, { shape, data }] of values) {
    if (json) console.log(JSON.stringify({ ...(values.size > 1 ? { name } : {}), shape, data: Array.from(data, Number) }));
    else console.log(describe(name, { shape, data }));
  }
}

/** The inputs that were given, by the names that kinds of models have for them. */
async function inputsOf({ pixels, ...lists }: Pick<LogitsFlags, "ids" | "tokenTypeIds" | "mask" | "decoderIds" | "pixels">) {
  const given = Object.entries(lists).filter((entry): entry is [string, readonly number[]] => entry[1] !== undefined);
  return { ...Object.fromEntries(given), ...(pixels === undefined ? {} : { pixels: await onlyTensor(pixels) }) };
}

async function onlyTensor(path: string): Promise<HostArray> {
  const { readSafetensors } = await import("../../checkpoint/index.js");
  const { TsumikiError } = await import("../../errors.js");
  const file = await readSafetensors(path);
  try {
    const [name, ...others] = file.tensors.keys();
    if (name === undefined || others.length > 0)
      throw new TsumikiError("ARGUMENT", `${path} holds ${file.tensors.size} tensors; a file with the pixels holds one.`);
    const { convertFloats } = await import("../../checkpoint/variable-match.js");
    return convertFloats(await file.read(name), "float32");
  } finally {
    await file.close();
  }
}

async function saveValues(
  path: string,
  ids: readonly number[] | undefined,
  values: ReadonlyMap<string, HostArray>,
): Promise<void> {
  const { writeSafetensors } = await import("../../checkpoint/index.js");
  const all = new Map(values);
  if (ids) all.set("input_ids", { dtype: "int64", shape: [ids.length], data: BigInt64Array.from(ids, BigInt) });
  await writeSafetensors(
    path,
    [...all].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, data: () => data })),
  );
}

const rowsShown = 32;
const columnsShown = 8;

/** The last axis in lines, its first numbers. */
function describe(name: string, { shape, data }: Pick<HostArray, "shape" | "data">): string {
  const columns = shape.at(-1) ?? 1;
  const rows = data.length / Math.max(columns, 1);
  const lines = Array.from({ length: Math.min(rows, rowsShown) }, (_, row) => {
    const numbers = Array.from({ length: Math.min(columns, columnsShown) }, (_, column) => Number(data[row * columns + column]));
    return `  ${numbers.map((value) => value.toPrecision(6).padStart(12)).join(" ")}${columns > columnsShown ? "  ..." : ""}`;
  });
  if (rows > rowsShown) lines.push(`  ... ${rows - rowsShown} more rows; --json prints all`);
  return [`${name} [${shape.join(", ")}]`, ...lines].join("\n");
}
