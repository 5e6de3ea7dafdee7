/** What the tests of adapters share: peft's golden cases. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { decodeSafetensors } from "../../checkpoint/safetensors-format.js";
import { type HostArray, type Parameter, toNumbers, type Variable } from "../../graph/index.js";
import { CausalLM } from "../../models/causal-lm.js";
import { loadModel } from "../../models/index.js";
import { int32 } from "../../program/signature.js";
import type { Adapter } from "../index.js";

export const golden = (path: string) => fileURLToPath(new URL(`../../../reference/golden/adapters/${path}`, import.meta.url));
export const tensorsOf = (path: string) => decodeSafetensors(readFileSync(path)).tensors;

export const signature = { ids: int32("batch", "seq"), labels: int32("batch", "seq") };

export async function modelOf(name: string): Promise<CausalLM> {
  const model = await loadModel(golden(`${name}/base`));
  if (!(model instanceof CausalLM)) throw new Error("no language model");
  return model;
}

export function difference(actual: HostArray, expected: HostArray | undefined): number {
  if (!expected) throw new Error("nothing to compare with");
  expect(actual.shape).toEqual(expected.shape);
  const target = toNumbers(expected);
  return toNumbers(actual).reduce((most, value, i) => Math.max(most, Math.abs(value - (target[i] as number))), 0);
}

/** The variables behind the tensors of an adapter's file. */
export const factorsOf = (adapter: Adapter) =>
  new Map([...adapter.files({}).tensors].filter((entry): entry is [string, Parameter] => "version" in entry[1]));

export const valuesOf = async (variables: ReadonlyMap<string, Variable>) =>
  new Map(await Promise.all([...variables].map(async ([name, variable]) => [name, (await variable.read()).data] as const)));
