/** The values inside a model for given tokens, and how they differ from those that another program computed. */

import { toPropertyPath } from "../checkpoint/names.js";
import type { Engine } from "../engine/engine.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import { sameShape } from "../graph/dim.js";
import { elementCount, type HostArray, toNumbers } from "../graph/host-array.js";
import { fetchPattern } from "../graph/trace.js";
import { checkpointVariables } from "../models/architectures.js";
import type { CausalLM } from "../models/causal-lm.js";
import { compile } from "../program/compile.js";
import { int32 } from "../program/signature.js";

export interface ValuesOptions {
  /** Default: the default engine. */
  readonly engine?: Engine | Promise<Engine>;
}

/** Names of all values that can be fetched, in the order of computation, `logits` last. */
export function valueNames(model: CausalLM): readonly string[] {
  return [...programOf(model, {}).names, "logits"];
}

/**
 * Values inside a model by name, without the axis of the batch: [seq, vocab] for `logits`.
 *
 * @param names names or patterns: `*` is one step of a path, `**` any number; `logits` is the result
 * @throws TsumikiError ARGUMENT for ids that the vocabulary does not have, too many of them, and names that nothing has
 */
export async function modelValues(
  model: CausalLM,
  ids: readonly number[],
  names: readonly string[] = ["logits"],
  options: ValuesOptions = {},
): Promise<ReadonlyMap<string, HostArray>> {
  checkIds(model, ids);
  await using program = programOf(model, options);
  const inner = names.filter((name) => name !== "logits");
  for (const pattern of inner)
    if (!program.names.some((name) => fetchPattern(pattern).test(name)))
      throw new ArgumentError(
        `Nothing inside the model is called ${JSON.stringify(pattern)}. There are logits, ${program.names.join(", ")}.`,
      );
  const { logits, inside } = await program({ ids: [ids] }, { fetch: inner });
  const values = new Map<string, HostArray>(
    program.names.flatMap((name) => (inside[name] ? [[name, withoutBatch(inside[name] as HostArray)]] : [])),
  );
  if (inner.length < names.length) values.set("logits", withoutBatch(logits));
  return values;
}

const programOf = (model: CausalLM, options: ValuesOptions) =>
  compile(({ ids }) => ({ logits: model.forward(ids) }), { ids: int32(1, "seq") }, { frozen: true, training: false, ...options });

function checkIds({ vocabSize, contextLength }: CausalLM, ids: readonly number[]): void {
  if (ids.length === 0) throw new ArgumentError("Give at least one token id.");
  if (ids.length > contextLength)
    throw new ArgumentError(`There are ${ids.length} ids, but the model can look at ${contextLength} positions.`);
  for (const id of ids)
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
      throw new ArgumentError(`${id} is not an id of the vocabulary: those are whole numbers from 0 to ${vocabSize - 1}.`);
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
  model: CausalLM,
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
