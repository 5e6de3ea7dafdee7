/** What a model of any kind costs, counted on the graph that it makes of one batch. */

import { ArgumentError } from "../errors.js";
import { grad } from "../graph/gradient.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import { elementCount } from "../graph/host-array.js";
import { input } from "../graph/leaves.js";
import { add, mul } from "../graph/ops/arithmetic.js";
import { sum } from "../graph/ops/reduce.js";
import type { Node, Tensor } from "../graph/tensor.js";
import { runTrace } from "../graph/trace.js";
import { describeKind, type Model } from "../models/model.js";
import { optimize } from "../onnx/passes/index.js";
import { liveBytes } from "./live-bytes.js";
import { byModule, type ModuleParameters } from "./modules.js";
import { type OptimizerName, optimizerElements } from "./optimizer-state.js";

export interface GeneralInspectOptions {
  /** Inputs at once. Default 1. */
  readonly batch?: number;
  /** Tokens of a text. Default: as many as the model can look at; without effect for pictures. */
  readonly context?: number;
  /** Default "adamw". */
  readonly optimizer?: OptimizerName;
}

/** Units are in the names; a multiplication and an addition are two operations. */
export interface GeneralInspection {
  readonly modelType: string;
  readonly kind: string;
  readonly optimizer: OptimizerName;
  /** The shapes of the inputs that all numbers are for. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  /** Shared ones once. */
  readonly parameters: number;
  readonly modules: readonly ModuleParameters[];
  readonly forwardFlops: number;
  /** Forward and backward. */
  readonly trainingFlops: number;
  readonly weightBytes: number;
  readonly gradientBytes: number;
  readonly optimizerStateBytes: number;
  /** The most that is alive in a training step besides, in float32. */
  readonly trainingActivationBytes: number;
  /** The most that is alive in a forward pass besides the weights, in float32. */
  readonly inferenceActivationBytes: number;
}

/** @throws TsumikiError ARGUMENT for sizes that are no whole numbers from 1, or a context that the model cannot look at */
export function inspectAnyModel(model: Model, options: GeneralInspectOptions = {}): GeneralInspection {
  const { optimizer = "adamw" } = options;
  const sizes = sizesOf(model, options);
  const required = Object.entries(describeKind(model).inputs(model)).filter(([, { optional }]) => !optional);
  const shapes = Object.fromEntries(
    required.map(([name, { spec }]) => [
      name,
      spec.sizes.map((size) => (typeof size === "number" ? size : (sizes[size] as number))),
    ]),
  );
  const parameters = [...model.parameters()].map(([path, { shape }]) => ({ path, shape, parameters: elementCount(shape) }));
  const count = parameters.reduce((sum, each) => sum + each.parameters, 0);
  const forward = traced(model, shapes, false);
  const training = traced(model, shapes, true);
  const gradients = new Set([...training.outputs].flatMap(([name, tensor]) => (name === "loss" ? [] : [tensor])));
  return {
    ...{ modelType: model.modelType, kind: model.kind, optimizer, inputs: shapes, parameters: count },
    modules: byModule(parameters),
    forwardFlops: flopsOf(forward),
    trainingFlops: flopsOf(training),
    weightBytes: 4 * count,
    gradientBytes: 4 * count,
    optimizerStateBytes: 4 * optimizerElements(optimizer, parameters),
    trainingActivationBytes: liveBytes(training, { kept: gradients, unknownSize: 1 }).peak,
    inferenceActivationBytes: liveBytes(forward, { kept: new Set(), unknownSize: 1 }).peak,
  };
}

function sizesOf(model: Model, { batch = 1, context }: GeneralInspectOptions): Readonly<Record<string, number>> {
  const { contextLength = 1, backbone } = model as Model & { contextLength?: number; backbone?: Model };
  const { contextLength: reach = contextLength } = (backbone ?? {}) as { contextLength?: number };
  const seq = context ?? reach;
  for (const [name, size] of Object.entries({ batch, context: seq }))
    if (!Number.isInteger(size) || size < 1) throw new ArgumentError(`${name} is ${size}, but it must be a whole number from 1.`);
  if (seq > reach && context !== undefined)
    throw new ArgumentError(`The context is ${seq}, but the model can look at ${reach} positions.`);
  return { batch, seq };
}

/** The forward pass, or with it the gradients of a scalar that depends on every output. */
function traced(model: Model, shapes: Readonly<Record<string, readonly number[]>>, training: boolean): Graph {
  const { outputs, ...kind } = describeKind(model);
  const inputs = kind.inputs(model);
  const leaves = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, input(name, inputs[name]?.spec.dtype ?? "float32", shape)]),
  );
  const { result } = runTrace({ training, fetch: [] }, () => {
    const made: Readonly<Record<string, Tensor>> = outputs(model, leaves);
    if (!training) return made;
    const loss = Object.values(made)
      .map((output) => sum(mul(output, output)))
      .reduce((a, b) => add(a, b));
    const gradients = grad(loss, [...model.parameters().values()]);
    return { loss, ...Object.fromEntries(gradients.map((gradient, i) => [`gradient${i}`, gradient])) };
  });
  return optimize({ inputs: new Map(Object.entries(leaves)), outputs: new Map(Object.entries(result)) });
}

/** Operations of products and convolutions; the others are not worth counting. */
const flopsOf = (graph: Graph): number => nodesOf(graph.outputs.values()).reduce((sum, node) => sum + flopsOfNode(node), 0);

function flopsOfNode({ op, inputs, outputs, attributes }: Node): number {
  const elements = (tensor: Tensor | undefined) => elementCount((tensor?.shape ?? []) as readonly number[]);
  if (op.name === "matmul") return 2 * elements(outputs[0]) * (inputs[0]?.size(attributes.transposeA ? -2 : -1) as number);
  const isConvolution = op.name === "conv" || op.name === "convTranspose";
  // Each weight meets every place of the picture: of the result, or for a transposed one of the operand.
  if (isConvolution) {
    const [places, channels] = op.name === "conv" ? [outputs[0], outputs[0]?.size(1)] : [inputs[0], inputs[0]?.size(1)];
    return (2 * elements(inputs[1]) * elements(places)) / (channels as number);
  }
  return 0;
}
