/** `tsumiki compare`: where a model begins to differ from what another program computed or saved. */

import { type Command, InvalidArgumentError } from "commander";
import { revisionFlag } from "../revision-flag.js";
import { tokenIds } from "../token-ids.js";

interface CompareFlags {
  readonly ids?: readonly number[];
  readonly tolerance?: number;
  readonly revision?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("compare")
    .description("name the first value, in the order of computation, in which a model differs from another program's")
    .argument("<model>", "a Hugging Face directory, a GGUF file, or the name of a model on the hub (org/name)")
    .argument("<values>", "a safetensors file: parameters, values on the way, logits, and their tokens as input_ids")
    .option("--ids <list>", "token ids, such as 1,2,3 (default: those in the file)", tokenIds)
    .option(
      "--tolerance <number>",
      "how far values may be apart, relative to the largest of a tensor or 1 (default: 1e-4)",
      tolerance,
    )
    .option(...revisionFlag)
    .option("--json", 'print {"compared", "different", "first"}')
    .action(compare);
}

function tolerance(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0) return value;
  throw new InvalidArgumentError("It must be a number from 0.");
}

async function compare(
  source: string,
  file: string,
  { ids, tolerance = 1e-4, revision, json = false }: CompareFlags,
): Promise<void> {
  const { openModel } = await import("../saved-model.js");
  const { compareWithValues, takeIds } = await import("../../inspect/index.js");
  const model = await openModel(source, revision);
  const saved = takeIds(await readAll(file));
  const comparison = await compareWithValues(model, saved.others, ids ?? saved.ids, { tolerance });
  const { compared, different, first } = comparison;
  if (json) console.log(JSON.stringify({ compared, different, first: first ?? null }));
  else if (first) console.log(`${different} of ${compared} values differ, the first of them ${first.name}:\n  ${first.detail}`);
  else console.log(`All ${compared} values agree within ${tolerance}.`);
  if (first) process.exitCode = 1;
}

async function readAll(path: string) {
  const { readSafetensors } = await import("../../checkpoint/index.js");
  await using file = await readSafetensors(path);
  return new Map(await Promise.all([...file.tensors.keys()].map(async (name) => [name, await file.read(name)] as const)));
}
