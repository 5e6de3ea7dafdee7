/** The values inside a model for given tokens, and how they differ from those that another program computed. */

import { toPropertyPath } from "../checkpoint/names.js";
import type { Engine } from "../engine/engine.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { sameShape } from "../graph/dim.js";
import { elementCount, fromNumbers, type HostArray, toNumbers } from "../graph/host-array.js";
import { fetchPattern } from "../graph/trace.js";
import { checkpointVariables } from "../models/architectures.js";
import { describeKind, type Model, type ModelInput } from "../models/model.js";
import { compile } from "../program/compile.js";
import type { Feeds, Signature } from "../program/signature.js";

export interface ValuesOptions {
  /** Default: the default engine. */
  readonly engine?: Engine | Promise<Engine>;
}

/** What a model is given, by the names of its kind's inputs: lists of numbers for one sequence, or arrays with the batch in front. */
export type ModelInputValues = Readonly<Record<string, readonly number[] | HostArray>>;

/** Names of all values that can be fetched, in the order of computation, the model's outputs last. */
export function valueNames(model: Model): readonly string[] {
  const { program, outputs } = programOfRequired(model);
  return [...program.names, ...outputs()];
}

/** Names of the model's outputs, the main one first. */
export const outputNames = (model: Model): readonly string[] => programOfRequired(model).outputs();

function programOfRequired(model: Model) {
  const inputs = describeKind(model).inputs(model);
  return programOf(
    model,
    Object.keys(inputs).filter((name) => !inputs[name]?.optional),
    {},
  );
}

/**
 * Values inside a model by name, without the axis of the batch where it is 1: [seq, vocab] for the `logits` of a language model.
 *
 * @param given token ids, or all inputs by name
 * @param names names or patterns: `*` is one step of a path, `**` any number; or outputs of the model. Default: its main output
 * @throws TsumikiError ARGUMENT for inputs that the kind of model does not have or needs, for ids that the vocabulary does not have, too
 * many of them, and names that nothing has
 */
export async function modelValues(
  model: Model,
  given: readonly number[] | ModelInputValues,
  names?: readonly string[],
  options: ValuesOptions = {},
): Promise<ReadonlyMap<string, HostArray>> {
  const feeds = feedsOf(model, Array.isArray(given) ? { ids: given } : (given as ModelInputValues));
  const { program, outputs } = programOf(model, Object.keys(feeds), options);
  await using _program = program;
  const asked = names ?? outputs().slice(0, 1);
  const inner = asked.filter((name) => !outputs().includes(name));
  for (const pattern of inner)
    if (!program.names.some((name) => fetchPattern(pattern).test(name)))
      throw new ArgumentError(
        `Nothing inside the model is called ${JSON.stringify(pattern)}. There are ${[...outputs(), ...program.names].join(", ")}.`,
      );
  const { inside, ...results } = await program(feeds, { fetch: inner });
  const found = (all: Readonly<Record<string, HostArray>>, order: readonly string[]): [string, HostArray][] =>
    order.flatMap((name) => (all[name] ? [[name, withoutBatch(all[name] as HostArray)]] : []));
  return new Map([
    ...found(inside, program.names),
    ...found(
      results as Readonly<Record<string, HostArray>>,
      outputs().filter((name) => asked.includes(name)),
    ),
  ]);
}

/** A program of the model's outputs for the inputs of these names. */
function programOf(model: Model, names: readonly string[], options: ValuesOptions) {
  const { outputs, ...kind } = describeKind(model);
  const inputs = kind.inputs(model);
  const signature: Signature = Object.fromEntries(names.map((name) => [name, (inputs[name] as ModelInput).spec]));
  let made: readonly string[] = [];
  const program = compile(
    (given) => {
      const results = outputs(model, given);
      made = Object.keys(results);
      return results;
    },
    signature,
    { frozen: true, training: false, ...options },
  );
  return { program, outputs: () => made }; // a function is traced at once
}

/** The inputs as arrays with a batch, checked. */
function feedsOf(model: Model, given: ModelInputValues): Feeds<Signature> {
  const inputs = describeKind(model).inputs(model);
  const known = Object.keys(inputs).join(", ");
  for (const name of Object.keys(given))
    if (!Object.hasOwn(inputs, name))
      throw new ArgumentError(`A model of the kind ${model.kind} has no input ${JSON.stringify(name)}; it has ${known}.`);
  for (const [name, { optional }] of Object.entries(inputs))
    if (!optional && given[name] === undefined)
      throw new ArgumentError(`A model of the kind ${model.kind} needs ${name}, which was not given.`);
  if (Array.isArray(given.ids)) checkIds(model as Model & Partial<TextLimits>, given.ids);
  const { ids } = given;
  return Object.fromEntries(
    Object.entries(given).map(([name, values]) => {
      const { dtype } = (inputs[name] as ModelInput).spec;
      if (!Array.isArray(values)) return [name, values as HostArray];
      if (Array.isArray(ids) && values.length !== ids.length)
        throw new ArgumentError(`There are ${ids.length} ids, but ${values.length} values were given for ${name}.`);
      return [name, fromNumbers(dtype, [1, values.length], values)];
    }),
  ) as Feeds<Signature>;
}

interface TextLimits {
  readonly vocabSize: number;
  readonly contextLength: number;
}

function checkIds({ vocabSize, contextLength }: Partial<TextLimits>, ids: readonly number[]): void {
  if (ids.length === 0) throw new ArgumentError("Give at least one token id.");
  if (contextLength !== undefined && ids.length > contextLength)
    throw new ArgumentError(`There are ${ids.length} ids, but the model can look at ${contextLength} positions.`);
  for (const id of ids)
    if (!Number.isInteger(id) || id < 0 || (vocabSize !== undefined && id >= vocabSize))
      throw new ArgumentError(
        `${id} is not an id of the vocabulary: those are whole numbers from 0${vocabSize === undefined ? "" : ` to ${vocabSize - 1}`}.`,
      );
}

const withoutBatch = ({ dtype, shape, data }: HostArray): HostArray =>
  ({ dtype, shape: shape[0] === 1 && shape.length > 1 ? shape.slice(1) : shape, data }) as HostArray;

export interface ValueComparison {
  /** How many values were compared. */
  readonly compared: number;
  /** The first one, in the order of computation, that differs by more than the tolerance. */
  readonly first: ValueDifference | undefined;
  /** How many differ. */
  readonly different: number;
}

export interface ValueDifference {
  readonly name: string;
  readonly maxDifference: number;
  /** In words: which element, and what it is here and there. */
  readonly detail: string;
}

/**
 * Compares a model with values that another program saved: parameters under their names in a checkpoint, and values on the way
 * under their names here (`layers.3.selfAttn.weights`), those of modules also under the names that they have in Python
 * (`model.layers.3.self_attn`). Parameters come first, then the values in the order in which they are computed.
 *
 * @param other values by name
 * @param ids the tokens; needed unless `other` holds parameters alone
 * @param tolerance how far values may be apart, relative to the largest of the same tensor or 1
 * @throws TsumikiError ARGUMENT where a name of `other` is not known here, naming all of these
 */
export async function compareWithValues(
  model: Model,
  other: ReadonlyMap<string, HostArray>,
  ids: readonly number[] | undefined,
  { tolerance = 1e-4, ...options }: ValuesOptions & { readonly tolerance?: number } = {},
): Promise<ValueComparison> {
  const variables = checkpointVariables(model);
  const names = valueNames(model);
  const parameters: string[] = [];
  const values = new Map<string, string>(); // name here → name there
  const unknown: string[] = [];
  for (const name of other.keys()) {
    const here = nameHere(name, names);
    if (variables.has(name)) parameters.push(name);
    else if (here !== undefined) values.set(here, name);
    else unknown.push(name);
  }
  if (unknown.length > 0)
    throw new ArgumentError(`Nothing in the model is called ${unknown.join(", ")}. Values on the way are ${names.join(", ")}.`);
  if (values.size > 0 && ids === undefined)
    throw new ArgumentError("To compute values, the model needs token ids: give them, or put them into the file as input_ids.");

  const found: ValueDifference[] = [];
  const check = (name: string, here: HostArray, there: HostArray) => {
    const difference = differenceOf(name, here, there, tolerance);
    if (difference) found.push(difference);
  };
  const order = [...variables.keys()];
  for (const name of parameters.toSorted((a, b) => order.indexOf(a) - order.indexOf(b)))
    check(name, (await variables.get(name)?.read()) as HostArray, other.get(name) as HostArray);
  const computed =
    values.size > 0 ? await modelValues(model, ids ?? [], [...values.keys()], options) : new Map<string, HostArray>();
  for (const name of names) {
    const there = other.get(values.get(name) ?? "");
    const here = computed.get(name);
    if (there && here) check(values.get(name) as string, here, withoutBatch(there));
  }
  return { compared: parameters.length + values.size, first: found[0], different: found.length };
}

/** The name here of a value that is called `name` there. */
function nameHere(name: string, names: readonly string[]): string | undefined {
  const path = toPropertyPath(name);
  const candidates = [name, path, path.replace(/^(transformer|model|gptNeox)\./, "")].flatMap((base) => [base, `${base}.output`]);
  return candidates.find((candidate) => names.includes(candidate));
}

function differenceOf(name: string, here: HostArray, there: HostArray, tolerance: number): ValueDifference | undefined {
  if (!sameShape(here.shape, there.shape) && !sameShape(withoutBatch(here).shape, there.shape))
    return {
      name,
      maxDifference: Number.POSITIVE_INFINITY,
      detail: `its shape is [${here.shape.join(", ")}] here and [${there.shape.join(", ")}] there`,
    };
  const [ours, theirs] = [toNumbers(here), toNumbers(there)];
  let scale = 1;
  let worst = 0;
  let maxDifference = 0;
  for (let i = 0; i < ours.length; i++) {
    const [a, b] = [ours[i] as number, theirs[i] as number];
    if (Number.isFinite(b)) scale = Math.max(scale, Math.abs(b));
    const difference = Object.is(a, b) || a === b ? 0 : Number.isFinite(a - b) ? Math.abs(a - b) : Number.POSITIVE_INFINITY;
    if (difference > maxDifference) [maxDifference, worst] = [difference, i];
  }
  if (maxDifference <= tolerance * scale) return undefined;
  const detail = `element ${worst} of [${here.shape.join(", ")}] is ${ours[worst]} here and ${theirs[worst]} there`;
  return { name, maxDifference, detail };
}

const idNames = ["input_ids", "ids"];

/** Takes the token ids out of saved values: `input_ids` or `ids`, [seq] or [1, seq]. */
export function takeIds(values: ReadonlyMap<string, HostArray>): {
  readonly ids: readonly number[] | undefined;
  readonly others: ReadonlyMap<string, HostArray>;
} {
  const name = idNames.find((candidate) => values.has(candidate));
  const array = name === undefined ? undefined : values.get(name);
  if (array && array.shape.at(-1) !== elementCount(array.shape))
    throw new TsumikiError(
      "ARGUMENT",
      `${name} is [${array.shape.join(", ")}]; one sequence can be compared, [seq] or [1, seq].`,
    );
  return {
    ids: array && [...toNumbers(array)],
    others: new Map([...values].filter(([other]) => !idNames.includes(other) && other !== "attention_mask")),
  };
}
