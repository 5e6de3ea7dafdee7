/** `tsumiki logits`: what a model computes for given tokens, at its end or on the way there. */

import type { Command } from "commander";
import type { HostArray } from "../../graph/host-array.js";
import { revisionFlag } from "../revision-flag.js";
import { tokenIds } from "../token-ids.js";

interface LogitsFlags {
  readonly ids: readonly number[];
  readonly layer?: string;
  readonly save?: string;
  readonly revision?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("logits")
    .description("print what a model computes for given tokens: logits, or any named value on the way to them")
    .argument("<model>", "a Hugging Face directory, a GGUF file, or the name of a model on the hub (org/name)")
    .requiredOption("--ids <list>", "token ids, such as 1,2,3", tokenIds)
    .option("--layer <name>", "a value on the way instead of the logits, such as layers.0.selfAttn.output")
    .option("--save <file>", "write all values, with the ids as input_ids, into a safetensors file that compare reads")
    .option(...revisionFlag)
    .option("--json", 'print {"shape": [seq, vocab], "data": [...]}')
    .action(logits);
}

async function logits(source: string, { ids, layer = "logits", save, revision, json = false }: LogitsFlags): Promise<void> {
  const { openModel } = await import("../saved-model.js");
  const { modelValues } = await import("../../inspect/index.js");
  const model = await openModel(source, revision);
  if (save !== undefined) await saveValues(save, ids, await modelValues(model, ids, ["**", "logits"]));
  const values = await modelValues(model, ids, [layer]);
  for (const [name, { shape, data }] of values) {
    if (json) console.log(JSON.stringify({ ...(values.size > 1 ? { name } : {}), shape, data: Array.from(data, Number) }));
    else console.log(describe(name, { shape, data }));
  }
}

async function saveValues(path: string, ids: readonly number[], values: ReadonlyMap<string, HostArray>): Promise<void> {
  const { writeSafetensors } = await import("../../checkpoint/index.js");
  const all = new Map(values).set("input_ids", { dtype: "int64", shape: [ids.length], data: BigInt64Array.from(ids, BigInt) });
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
