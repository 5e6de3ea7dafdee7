/** The loop inside a graph. (JavaScript loops unroll while tracing: each step becomes nodes of its own.) */

import { ArgumentError, DTypeError, ShapeError } from "../errors.js";
import { type Dim, formatShape, type Shape, sameDim, sameShape } from "./dim.js";
import { isFloat } from "./dtype.js";
import type { ExampleMaker } from "./example.js";
import { isZeros, partialVectorJacobian } from "./gradient.js";
import { type Bound, defineOp, type ReferenceArray } from "./op.js";
import { add, mul } from "./ops/arithmetic.js";
import { zerosLike } from "./ops/fill.js";
import { sizeOf } from "./ops/reference-math.js";
import {
  closeBody,
  type OpenBody,
  operandsOf,
  placeholder,
  placeholderLike,
  resultsOf,
  type ScanAttributes,
  type ScanBody,
} from "./scan-body.js";
import { writeScan } from "./scan-onnx.js";
import { nodeIdMark, type Tensor } from "./tensor.js";
import { assignedSince, currentTrace } from "./trace.js";

const scanOp = defineOp<ScanAttributes>({
  name: "scan",
  accepts: "mixed",
  outputs: ({ body }) => 2 * body.carry.length + body.outputs.length,
  dtype: (_, { body }) => [...body.carry, ...body.outputs, ...body.carry].map(({ dtype }) => dtype),
  shape(inputs, { body }) {
    const { carry, sequences, captured } = operandsOf(body, inputs);
    const steps = checkSequences(sequences);
    checkSame("sequence", sequences, body.elements, ({ shape }) => shape.slice(1));
    checkSame("captured value", captured, body.captured, ({ shape }) => shape);
    checkSame("carry", carry, body.carry, ({ shape }) => shape);
    checkSame("carry after a step", body.nextCarry, body.carry, ({ shape }) => shape);
    return [...body.carry.map(({ shape }) => shape), ...[...body.outputs, ...body.carry].map(({ shape }) => [steps, ...shape])];
  },
  vjp: ({ inputs, outputs, gradients, attributes }) => backward(attributes, inputs, outputs, gradients),
  onnx: writeScan,
  reference(inputs, attributes, { evaluate, outputs }) {
    const { body, reverse } = attributes as Bound<unknown> as ScanAttributes;
    const { carry, sequences, captured } = operandsOf(body, inputs);
    const steps = (sequences[0] as ReferenceArray).shape[0] as number;
    const { stacked, history } = resultsOf(body, outputs);
    const collected = [...stacked, ...history].map(({ shape }) => new Float64Array(sizeOf(shape)));
    let state = carry;
    for (let step = 0; step < steps; step++) {
      const at = reverse ? steps - 1 - step : step;
      const given = new Map<Tensor, ReferenceArray>([
        ...body.carry.map((tensor, i) => [tensor, state[i] as ReferenceArray] as const),
        ...body.elements.map((tensor, i) => [tensor, elementOf(sequences[i] as ReferenceArray, at)] as const),
        ...body.captured.map((tensor, i) => [tensor, captured[i] as ReferenceArray] as const),
      ]);
      const results = evaluate([...body.nextCarry, ...body.outputs], given);
      const rows = [...results.slice(body.carry.length), ...state];
      for (const [i, { data }] of rows.entries()) collected[i]?.set(data, at * data.length);
      state = results.slice(0, body.carry.length);
    }
    return [...state, ...[...stacked, ...history].map(({ shape }, i) => ({ shape, data: collected[i] as Float64Array }))];
  },
  examples: (make) => [
    recurrence(make, false),
    recurrence(make, true),
    ...[false, true].map((reverse) => {
      const body = mapping(make);
      return { inputs: [make.float(["t", "a"])], attributes: { body, reverse } };
    }),
  ],
});

const elementOf = ({ shape, data }: ReferenceArray, step: number): ReferenceArray => {
  const size = sizeOf(shape.slice(1));
  return { shape: shape.slice(1), data: data.subarray(step * size, (step + 1) * size) };
};

function checkSequences(sequences: readonly Tensor[]): Dim {
  const [first] = sequences;
  if (!first) throw new ArgumentError("a loop needs at least one sequence: its length is the number of steps");
  for (const sequence of sequences) {
    if (sequence.rank === 0) throw new ShapeError("a sequence needs a leading axis, the steps, but a scalar was given");
    if (!sameDim(sequence.size(0), first.size(0)))
      throw new ShapeError(
        `sequences of different lengths were given: ${sequences.map(({ shape }) => formatShape(shape)).join(" and ")}`,
      );
  }
  return first.size(0);
}

function checkSame(
  what: string,
  given: readonly Tensor[],
  expected: readonly Tensor[],
  shapeOf: (tensor: Tensor) => Shape,
): void {
  if (given.length !== expected.length)
    throw new ShapeError(`${expected.length} times ${what} expected, but ${given.length} given`);
  for (const [i, tensor] of given.entries()) {
    const { dtype, shape } = expected[i] as Tensor;
    const message = `${what} ${i} is ${tensor.dtype}${formatShape(shapeOf(tensor))}, but ${dtype}${formatShape(shape)} is needed`;
    if (tensor.dtype !== dtype) throw new DTypeError(message);
    if (!sameShape(shapeOf(tensor), shape)) throw new ShapeError(message);
  }
}

/** A loop the other way round, whose step is the gradient of a step; gradients of captured values are summed in its carry. */
function backward(
  { body, reverse }: ScanAttributes,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  gradients: readonly Tensor[],
): readonly (Tensor | undefined)[] {
  const { sequences, captured } = operandsOf(body, inputs);
  const { history } = resultsOf(body, outputs);
  const received = resultsOf(body, gradients);
  const floats = (tensors: readonly Tensor[]) => [...tensors.keys()].filter((i) => isFloat((tensors[i] as Tensor).dtype));
  const flowing = (tensors: readonly Tensor[]) => floats(tensors).filter((i) => !isZeros(tensors[i] as Tensor));
  const pick = (tensors: readonly Tensor[], at: readonly number[]) => at.map((i) => tensors[i] as Tensor);

  const carries = floats(body.carry);
  const given = flowing(received.stacked);
  const carryGradients = pick(body.carry, carries).map(placeholderLike);
  const outputGradients = pick(body.outputs, given).map(placeholderLike);
  const targets = [
    ...pick(body.carry, carries),
    ...pick(body.elements, floats(body.elements)),
    ...pick(body.captured, floats(body.captured)),
  ];
  const found = partialVectorJacobian(
    [...pick(body.nextCarry, carries), ...pick(body.outputs, given)],
    [...carryGradients, ...outputGradients],
    targets,
  );
  const gradientOf = new Map(targets.map((tensor, i) => [tensor, found[i]]));

  // The carries that entered each step may have a gradient of their own, when gradients are differentiated.
  const remembered = flowing(received.history);
  const historyGradients = pick(body.carry, remembered).map(placeholderLike);
  const nextCarryGradients = carries.map((i) => {
    const gradient = gradientOf.get(body.carry[i] as Tensor) ?? zerosLike(body.carry[i] as Tensor);
    const own = historyGradients[remembered.indexOf(i)];
    return own ? add(gradient, own) : gradient;
  });

  const reached = (tensors: readonly Tensor[]) =>
    [...tensors.keys()].filter((i) => gradientOf.get(tensors[i] as Tensor) !== undefined);
  const elementsAt = reached(body.elements);
  const capturedAt = reached(body.captured);
  const sums = pick(body.captured, capturedAt).map(placeholderLike);
  const nextSums = sums.map((sum, i) => add(sum, gradientOf.get(body.captured[capturedAt[i] as number] as Tensor) as Tensor));

  const { final, stacked } = loop(
    {
      carry: [...carryGradients, ...sums],
      elements: [...body.carry, ...body.elements, ...outputGradients, ...historyGradients],
      nextCarry: [...nextCarryGradients, ...nextSums],
      outputs: pick(body.elements, elementsAt).map((tensor) => gradientOf.get(tensor) as Tensor),
    },
    {
      carry: [...pick(received.final, carries), ...pick(captured, capturedAt).map(zerosLike)],
      sequences: [...history, ...sequences, ...pick(received.stacked, given), ...pick(received.history, remembered)],
      reverse: !reverse,
      since: nodeIdMark(),
      substitutes: new Map(body.captured.map((tensor, i) => [tensor, captured[i] as Tensor])),
    },
  );
  return [
    ...body.carry.map((_, i) => final[carries.indexOf(i)]),
    ...body.elements.map((_, i) => stacked[elementsAt.indexOf(i)]),
    ...body.captured.map((_, i) => (capturedAt.includes(i) ? final[carries.length + capturedAt.indexOf(i)] : undefined)),
  ];
}

interface LoopOptions {
  readonly carry: readonly Tensor[];
  readonly sequences: readonly Tensor[];
  readonly reverse: boolean;
  readonly since: number;
  readonly substitutes?: ReadonlyMap<Tensor, Tensor>;
}

/** Makes the node of a loop from a body that may still read tensors from outside. */
function loop(
  open: OpenBody,
  { carry, sequences, reverse, since, substitutes = new Map() }: LoopOptions,
): { readonly final: readonly Tensor[]; readonly stacked: readonly Tensor[] } {
  const { body, captured, noise } = closeBody(open, { steps: checkSequences(sequences), since, substitutes });
  const results = scanOp(...carry, ...sequences, ...noise, ...captured, { body, reverse });
  return resultsOf(body, results);
}

type Tensors<T extends readonly Tensor[]> = { readonly [K in keyof T]: Tensor };

export interface ScanOptions<C extends readonly Tensor[], S extends readonly Tensor[]> {
  /** The state before the first step. */
  readonly carry: C;
  /** Each [steps, ...]; step t reads element t of each. */
  readonly sequences: S;
  /** From the last element to the first. Outputs stay at the place of their element. Default false. */
  readonly reverse?: boolean;
}

/**
 * Runs `body` once for each element of the sequences, passing a state from step to step: a recurrence of any length, also
 * one that is known only when the program runs, zero included.
 *
 * `body(carry, elements)` gets the state and one element of each sequence (without the leading axis) and returns the next
 * state, of the same dtypes and shapes, and what is stacked over the steps. It may read tensors from outside. Noise drawn
 * in it is drawn anew in each step; values named in it can be fetched, stacked over the steps.
 *
 * @returns the last state, and the outputs of all steps, each [steps, ...]
 */
export function scan<
  const C extends readonly Tensor[],
  const S extends readonly Tensor[],
  const O extends readonly Tensor[] = readonly [],
>(
  body: (carry: Tensors<C>, elements: Tensors<S>) => { readonly carry: Tensors<C>; readonly outputs?: O },
  { carry, sequences, reverse = false }: ScanOptions<C, S>,
): { readonly carry: Tensors<C>; readonly outputs: Tensors<O> } {
  checkSequences(sequences);
  const since = nodeIdMark();
  const state = carry.map(placeholderLike);
  const elements = sequences.map(({ dtype, shape }) => placeholder(dtype, shape.slice(1)));
  const notes = traceNotes();
  const step = body(state as unknown as Tensors<C>, elements as unknown as Tensors<S>);
  const named = notes.namedSince();
  const outputs = step.outputs ?? [];
  const { final, stacked } = loop(
    {
      carry: state,
      elements,
      nextCarry: step.carry as readonly Tensor[],
      outputs: [...outputs, ...named.map(([, tensor]) => tensor)],
    },
    { carry, sequences, reverse, since },
  );
  for (const [i, [name]] of named.entries()) currentTrace()?.named.set(name, stacked[outputs.length + i] as Tensor);
  return { carry: final as unknown as Tensors<C>, outputs: stacked.slice(0, outputs.length) as unknown as Tensors<O> };
}

/** What a body leaves behind in the trace belongs to one step; outside only all steps together can be spoken of. */
function traceNotes(): { namedSince(): readonly (readonly [string, Tensor])[] } {
  const trace = currentTrace();
  const named = new Set(trace?.named.keys());
  const assigned = assignedSince("scan");
  return {
    namedSince() {
      assigned.check("That would be once for each step: carry its value through the steps and assign the last one.");
      return [...(trace?.named ?? [])].filter(([name]) => !named.has(name));
    },
  };
}

/** h ← h·w + x, with h² as output: captured value, carry and element all have gradients. */
function recurrence(make: ExampleMaker, reverse: boolean) {
  const vector = () => placeholder("float32", [make.dim("a")]);
  const [state, element, weight] = [vector(), vector(), vector()];
  const next = add(mul(state, weight), element);
  const body: ScanBody = {
    carry: [state],
    elements: [element],
    captured: [weight],
    nextCarry: [next],
    outputs: [mul(next, state)],
  };
  return {
    inputs: [make.float(["a"]), make.float(["t", "a"]), make.float(["a"], { low: -1, high: 1 })],
    attributes: { body, reverse },
  };
}

/** No carry at all: the same function of every element. */
function mapping(make: ExampleMaker): ScanBody {
  const element = placeholder("float32", [make.dim("a")]);
  return { carry: [], elements: [element], captured: [], nextCarry: [], outputs: [mul(element, element)] };
}
