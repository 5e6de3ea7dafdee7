/** Where a NaN or an infinity comes from: every float value of a program is watched, in the order of computation. */

import type { Engine, EngineBuffer } from "../engine/engine.js";
import { modelSource } from "../engine/model-source.js";
import { type Atom, bindShape } from "../graph/dim.js";
import { isFloat } from "../graph/dtype.js";
import { nodesOf } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import { abs } from "../graph/ops/arithmetic.js";
import { less } from "../graph/ops/compare.js";
import { all } from "../graph/ops/reduce.js";
import type { Tensor } from "../graph/tensor.js";
import { optimize, type Precision } from "../onnx/passes/index.js";
import type { ProgramGraph } from "./build.js";
import { type FeedValue, onHost } from "./device-value.js";
import { drawNoise, type NoiseKey } from "./noise.js";
import { stateStore } from "./store.js";

export interface NotFinite {
  /** What the value is: a feed, a parameter, or the operator that made it. */
  readonly value: string;
  /** Path of the module in which it was computed. */
  readonly module: string;
}

export interface Diagnosis {
  readonly graph: ProgramGraph;
  readonly engine: Engine;
  /** That of the run which is looked into: other roundings may be finite where these are not, and the other way round. */
  readonly precision: Precision;
  readonly feeds: ReadonlyMap<string, FeedValue>;
  readonly bindings: ReadonlyMap<Atom, number>;
  readonly noiseKey: NoiseKey;
}

/**
 * The first value that is not finite although all before it are; `undefined` when all are finite. Reads the state: call it
 * from a task of the store's queue.
 */
export async function firstNotFinite({
  graph,
  engine,
  precision,
  feeds,
  bindings,
  noiseKey,
}: Diagnosis): Promise<NotFinite | undefined> {
  const watched = nodesOf(graph.outputs.values())
    .flatMap((node) => node.outputs)
    .filter((tensor) => isFloat(tensor.dtype) && tensor.node.op.name !== "constant");
  // |x| < ∞ is false for NaN too. One bool each: the values themselves need not be kept.
  const outputs = new Map(
    watched.map((tensor, i): [string, Tensor] => [`finite:${i}`, all(less(abs(tensor), Number.POSITIVE_INFINITY))]),
  );
  const probe = { inputs: graph.inputs, outputs };
  const model = await engine.load(modelSource(engine, optimize(probe, precision)));
  const own: EngineBuffer[] = [];
  try {
    const inputs = new Map<string, EngineBuffer>();
    const upload = async (name: string, array: HostArray) => {
      const buffer = await engine.upload(array);
      own.push(buffer);
      inputs.set(name, buffer);
    };
    for (const [name, array] of feeds) await upload(`feed:${name}`, await onHost(array));
    for (const [name, { tensor, attributes }] of graph.noise)
      await upload(name, drawNoise(attributes, bindShape(tensor.shape, bindings), noiseKey));
    for (const [name, variable] of graph.variables) inputs.set(name, await stateStore(engine).current(variable));
    const produced = await model.run(inputs, new Map([...outputs.keys()].map((name) => [name, undefined])));
    own.push(...produced.values());
    for (const [i, tensor] of watched.entries()) {
      const { data } = await engine.read(produced.get(`finite:${i}`) as EngineBuffer);
      if (Number(data[0]) === 0) return { value: tensor.describe(), module: tensor.node.scope };
    }
    return undefined;
  } finally {
    for (const buffer of own) await engine.release(buffer);
    await model.release();
  }
}
