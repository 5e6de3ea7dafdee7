/** `tsumiki inspect`: what a model costs, from its configuration alone. */

import type { Command } from "commander";
import type { EngineName, InferenceDType, InspectOptions, OptimizerName } from "../../inspect/index.js";
import type { HuggingFaceConfig } from "../../models/architectures.js";
import { wholeNumber } from "../numbers.js";
import { revisionFlag } from "../revision-flag.js";

interface InspectFlags {
  readonly batch?: number;
  readonly context?: number;
  readonly dtype?: InferenceDType;
  readonly optimizer?: OptimizerName;
  readonly engine?: EngineName;
  readonly revision?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("inspect")
    .description("count a model's parameters, operations and memory, from its configuration alone")
    .argument("<model>", "a config.json, a Hugging Face directory, a GGUF file, or the name of a model on the hub (org/name)")
    .option("--batch <number>", "sequences at once (default: 1)", wholeNumber)
    .option("--context <number>", "tokens of a sequence (default: as many as the model can look at)", wholeNumber)
    .option("--dtype <name>", "of weights and cache when it is used: float32, float16, bfloat16, int8 or int4 (default: float32)")
    .option("--optimizer <name>", "adamw, lion, muon, sgd, sgd-momentum or adafactor (default: adamw)")
    .option("--engine <name>", "onnxruntime or openvino: also all that a training process holds with it (default: not counted)")
    .option(...revisionFlag)
    .option("--json", "print one JSON object, with the units in the names")
    .action(inspect);
}

async function inspect(source: string, { json = false, revision, ...flags }: InspectFlags): Promise<void> {
  const { generalInspectionTable, inspectAnyModel, inspectionTable, inspectModel } = await import("../../inspect/index.js");
  const { modelFromConfig } = await import("../../models/architectures.js");
  const config = await configOf(source, revision);
  const model = modelFromConfig(config, source);
  if (model.kind !== "causal-lm") {
    const inspection = inspectAnyModel(model, flags);
    console.log(json ? JSON.stringify(inspection) : generalInspectionTable(inspection));
    return;
  }
  const options: InspectOptions = flags;
  const inspection = inspectModel(config, options);
  console.log(json ? JSON.stringify(inspection) : inspectionTable(inspection));
}

async function configOf(source: string, revision: string | undefined): Promise<HuggingFaceConfig> {
  if (source.endsWith(".gguf")) {
    const { openModel } = await import("../saved-model.js");
    return (await import("../../models/architectures.js")).configOf(await openModel(source));
  }
  const { modelConfig } = await import("../../models/model-config.node.js");
  return modelConfig(source, revision === undefined ? {} : { revision });
}
