/** What a training run does to the memory of a graphics card; `gpu-memory.test.ts` calls this. */

import { createEngine } from "../../src/engine/index.js";
import { add, matmul, mul, Parameter, square, sub, sum, transpose, Variable } from "../../src/graph/index.js";
import { compile, float32 } from "../../src/program/index.js";

interface Buffer {
  readonly size: number;
  destroy(): void;
}

/** Counts what every user of WebGPU in this page makes, frees and sends. */
const counted = { liveBytes: 0, liveBuffers: 0, sentBytes: 0 };

function countBuffers(): void {
  const scope = globalThis as unknown as {
    GPUDevice: {
      prototype: { createBuffer(description: { readonly size: number; readonly mappedAtCreation?: boolean }): Buffer };
    };
    GPUBuffer: { prototype: Buffer };
    GPUQueue: { prototype: { writeBuffer(...parameters: unknown[]): void } };
  };
  const device = scope.GPUDevice.prototype;
  const { createBuffer } = device;
  const forgotten = new FinalizationRegistry<{ size: number }>((held) => {
    if (held.size > 0) counted.liveBuffers--;
    counted.liveBytes -= held.size;
    held.size = 0;
  });
  const sizes = new WeakMap<Buffer, { size: number }>();
  device.createBuffer = function (description) {
    const buffer = createBuffer.call(this, description);
    const held = { size: description.size };
    counted.liveBytes += held.size;
    counted.liveBuffers++;
    if (description.mappedAtCreation) counted.sentBytes += held.size;
    sizes.set(buffer, held);
    forgotten.register(buffer, held);
    return buffer;
  };
  const { destroy } = scope.GPUBuffer.prototype;
  scope.GPUBuffer.prototype.destroy = function () {
    const held = sizes.get(this);
    if (held && held.size > 0) {
      counted.liveBytes -= held.size;
      counted.liveBuffers--;
      held.size = 0;
    }
    destroy.call(this);
  };
  const queue = scope.GPUQueue.prototype;
  const { writeBuffer } = queue;
  queue.writeBuffer = function (...parameters) {
    counted.sentBytes += (parameters[2] as ArrayBufferView | ArrayBuffer).byteLength;
    writeBuffer.apply(this, parameters);
  };
}

const rows = 4;
const width = 256;
const baseBytes = width * width * 4;

export interface MemoryStory {
  /** After each part of the run: what the card holds and what was sent to it since the run began. */
  readonly parts: readonly { readonly liveBytes: number; readonly liveBuffers: number; readonly sentBytes: number }[];
  readonly baseBytes: number;
  readonly firstLoss: number;
  readonly lastLoss: number;
  /** Whether all checkpoints hold the base as it was made, and no two the same bias. */
  readonly checkpointsRight: boolean;
}

/** A frozen base of weights and a trained bias with momentum; after each part a checkpoint of everything. */
export async function trainInParts(parts: number, stepsInPart: number): Promise<MemoryStory> {
  countBuffers();
  const engine = await createEngine({ device: "webgpu" });
  const baseValues = Float32Array.from({ length: width * width }, (_, i) => Math.sin(i) / width);
  const base = new Parameter([width, width], { name: "base", initializer: () => baseValues.slice() });
  const bias = new Parameter([width], { name: "bias" });
  const momentum = new Variable([width], { name: "momentum" });
  const step = compile(
    ({ x, target }) => {
      const error = sub(add(matmul(x, transpose(base)), bias), target);
      const next = add(mul(momentum, 0.9), sum(error, { axes: [0] }));
      momentum.assign(next);
      bias.assign(sub(bias, mul(next, 0.002)));
      return { loss: sum(square(error)), error };
    },
    { x: float32(rows, width), target: float32(rows, width) },
    { engine },
  );
  const feed = (value: (column: number) => number) => ({
    dtype: "float32" as const,
    shape: [rows, width],
    data: Float32Array.from({ length: rows * width }, (_, i) => value(i % width)),
  });
  const target = feed(Math.cos); // the bias alone can reach it
  const losses: number[] = [];
  const story: { liveBytes: number; liveBuffers: number; sentBytes: number }[] = [];
  const seen = new Set<string>();
  let checkpointsRight = true;
  for (let part = 0; part < parts; part++) {
    for (let i = 0; i < stepsInPart; i++) {
      const { loss } = await step({ x: feed((column) => Math.sin(column + i)), target });
      losses.push(loss.item());
    }
    const saved = await Promise.all([base, bias, momentum].map(async (variable) => (await variable.read()).data as Float32Array));
    const [savedBase, savedBias] = saved as [Float32Array, Float32Array, Float32Array];
    checkpointsRight &&= savedBase.every((value, i) => value === baseValues[i]);
    seen.add(savedBias.join());
    story.push({ ...counted });
  }
  await step.release();
  await engine.close();
  return {
    parts: story,
    baseBytes,
    firstLoss: losses[0] as number,
    lastLoss: losses.at(-1) as number,
    checkpointsRight: checkpointsRight && seen.size === parts,
  };
}
