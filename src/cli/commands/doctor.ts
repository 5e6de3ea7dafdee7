/** `tsumiki doctor`: what can compute here, and how fast. */

import { availableParallelism, cpus, totalmem } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import type { DeviceExamination, EngineExamination } from "../../engine/doctor.js";

interface DoctorOptions {
  readonly json?: boolean;
  readonly threads?: number;
}

export function register(program: Command): void {
  program
    .command("doctor")
    .description("list the engines and devices found here, and how fast each multiplies matrices")
    .option("--threads <number>", "threads that an engine may use (default: one for each core)", threadCount)
    .option("--json", "print one JSON object instead of lines")
    .action(doctor);
}

function threadCount(text: string): number {
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1) throw new InvalidArgumentError("It must be a whole number from 1.");
  return threads;
}

async function doctor({ json = false, threads }: DoctorOptions): Promise<void> {
  const { examineEngines } = await import("../../engine/doctor.js");
  const machine = {
    node: process.versions.node,
    platform: process.platform,
    architecture: process.arch,
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
  };
  const engines = await examineEngines({
    ...(threads === undefined ? {} : { threads }),
    onProgress: (what) => console.error(`trying ${what}`),
  });
  if (json) {
    console.log(JSON.stringify({ machine, engines }));
    return;
  }
  console.log(
    `Node ${machine.node} on ${machine.platform} ${machine.architecture}: ${machine.processor}, ` +
      `${machine.cores} cores, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB`,
  );
  for (const engine of engines) console.log(`\n${describeEngine(engine)}`);
}

const describeEngine = ({ engine, version, problem, devices }: EngineExamination): string =>
  [
    `${engine}${version ? ` ${version}` : ""}`,
    ...(problem ? [`  ${problem.replaceAll("\n", "\n  ")}`] : []),
    ...devices.map(describeDevice),
  ].join("\n");

function describeDevice(device: DeviceExamination): string {
  const name = `  ${device.device.padEnd(9)}`;
  if (!device.present) return `${name}not here. ${device.detail}`;
  if (device.problem !== undefined) return `${name}found, but it does not work: ${device.problem}`;
  const { gigaflops, bfloat16Gigaflops, threads } = device;
  const rates = [
    ...(gigaflops === undefined ? [] : [`${gigaflops.toPrecision(3)} GFLOP/s`]),
    ...(bfloat16Gigaflops === undefined ? [] : [`${bfloat16Gigaflops.toPrecision(3)} in bfloat16`]),
  ];
  const what = [`${threads} thread${threads === 1 ? "" : "s"}`, ...describeArithmetic(device), device.detail];
  return `${name}${rates.join(", ").padEnd(30)} ${what.join("; ")}`;
}

/** `float32, bfloat16`, `float64 and float16 in float32`, `int64 in 32 bits` */
function describeArithmetic({ floats = [], floatsInOther = {}, wideIntegers }: DeviceExamination): readonly string[] {
  const others = Object.entries(floatsInOther);
  const precisions = [...new Set(others.map(([, precision]) => precision))];
  const taken = (precision: string) => others.filter(([, other]) => other === precision).map(([dtype]) => dtype);
  return [
    floats.join(", "),
    ...precisions.map((precision) => `${taken(precision).join(" and ")} in ${precision}`),
    ...(wideIntegers === false ? ["int64 in 32 bits"] : []),
  ];
}
