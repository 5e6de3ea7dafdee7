/** Who is compared in which bench. A group is measured interleaved, in one run; groups follow each other. */

import type { Competitor } from "./driver.js";
import type { PeerConfig, Precision } from "./protocol.js";
import {
  contexts,
  type LlamaWorkload,
  matmulShapes,
  moe,
  moeDense,
  nanoGpt,
  small,
  train,
  trainScaled,
  trainTiny,
  type Workload,
} from "./workloads.js";

export const benches = ["matmul", "train", "small", "nanogpt", "contexts", "moe", "web"] as const;
export type Bench = (typeof benches)[number];

export interface PlanOptions {
  readonly threads: number;
  readonly precisions: readonly Precision[];
  /** The text of `nanogpt`. */
  readonly textFile?: string;
}

type Part = Pick<PeerConfig, "task" | "mode" | "precision">;

export function plan(bench: Bench, { threads, precisions, textFile }: PlanOptions): Competitor[][] {
  const config = (workload: Workload, part: Part): PeerConfig => ({
    ...part,
    threads,
    workload,
    matmulShapes: part.task === "matmul" && workload.architecture === "llama" ? matmulShapes(workload) : [],
    ...(textFile !== undefined && { textFile }),
  });
  const competitor = (
    by: string,
    library: string,
    script: string,
    workload: Workload,
    part: Part,
    stepsPerRepetition?: number,
  ): Competitor => ({
    by,
    library,
    script,
    config: config(workload, part),
    stepsPerRepetition: stepsPerRepetition ?? workload.stepsPerRepetition,
  });

  const tsumiki = (workload: Workload, task: PeerConfig["task"]) =>
    competitor("tsumiki/onnxruntime", "tsumiki", "tsumiki.ts", workload, { task, mode: "onnxruntime", precision: "fp32" });
  const openVino = (workload: Workload, task: PeerConfig["task"]) =>
    precisions.map((precision) =>
      competitor("tsumiki/openvino", "tsumiki-openvino", "tsumiki.ts", workload, { task, mode: "openvino", precision }),
    );
  const tsumikiWeb = (workload: Workload, task: PeerConfig["task"], mode: "wasm" | "webgpu", steps: number) =>
    competitor(
      `tsumiki/onnxruntime-web-${mode}`,
      `tsumiki-${mode}`,
      "tsumiki-web.ts",
      workload,
      { task, mode, precision: "fp32" },
      steps,
    );
  const pytorch = (workload: Workload, task: PeerConfig["task"], modes: ReadonlyArray<"eager" | "compiled">) =>
    precisions.flatMap((precision) =>
      modes.map((mode) =>
        competitor(mode === "eager" ? "pytorch" : "pytorch-compiled", "pytorch", "pytorch.py", workload, {
          task,
          mode,
          precision,
        }),
      ),
    );
  const fp32 = "fp32" as const;
  const jaxJs = (workload: LlamaWorkload, task: PeerConfig["task"], steps = 1) =>
    competitor("jax-js", "jax-js", "jax-js.ts", workload, { task, mode: "wasm", precision: fp32 }, steps);
  const tfjs = (workload: LlamaWorkload, task: PeerConfig["task"], mode: "cpu" | "wasm", steps = 1) =>
    competitor(`tfjs-${mode}`, `tfjs-${mode}`, "tfjs.ts", workload, { task, mode, precision: fp32 }, steps);

  switch (bench) {
    case "matmul":
      return [
        [
          tsumiki(train, "matmul"),
          ...openVino(train, "matmul"),
          ...pytorch(train, "matmul", ["eager"]),
          jaxJs(train, "matmul"),
          tfjs(train, "matmul", "wasm"),
        ],
        [tsumiki(trainTiny, "matmul"), tfjs(trainTiny, "matmul", "cpu")],
      ];
    case "train":
      return [
        [
          tsumiki(train, "step"),
          ...openVino(train, "step"),
          ...pytorch(train, "step", ["eager", "compiled"]),
          tsumiki(train, "matmul"),
          ...openVino(train, "matmul"),
          ...pytorch(train, "matmul", ["eager"]),
        ],
        [tsumiki(trainScaled, "step"), jaxJs(trainScaled, "step"), tfjs(trainScaled, "step", "wasm")],
        [tsumiki(trainTiny, "step"), tfjs(trainTiny, "step", "cpu")],
      ];
    case "small":
      return [
        [
          tsumiki(small, "step"),
          ...openVino(small, "step"),
          ...pytorch(small, "step", ["eager", "compiled"]),
          tsumiki(small, "matmul"),
          ...openVino(small, "matmul"),
          ...pytorch(small, "matmul", ["eager"]),
          jaxJs(small, "step", 5),
          tfjs(small, "step", "wasm", 5),
          tfjs(small, "step", "cpu", 1),
        ],
      ];
    case "nanogpt":
      return [
        [tsumiki(nanoGpt, "nanogpt"), ...openVino(nanoGpt, "nanogpt"), ...pytorch(nanoGpt, "nanogpt", ["eager", "compiled"])],
      ];
    case "contexts":
      return contexts.map((workload) => [
        tsumiki(workload, "step"),
        ...openVino(workload, "step"),
        ...pytorch(workload, "step", ["eager"]),
      ]);
    case "moe":
      return [[moeDense, moe].flatMap((workload) => [tsumiki(workload, "step"), ...openVino(workload, "step")])];
    case "web":
      return [
        [
          tsumiki(small, "step"),
          tsumikiWeb(small, "step", "wasm", 5),
          tsumikiWeb(small, "matmul", "wasm", 1),
          tsumikiWeb(small, "step", "webgpu", 1),
        ],
      ];
  }
}
