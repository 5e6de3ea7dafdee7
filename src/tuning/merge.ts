/** Adapters that become part of their model's weights, and come off again. */

import type { Engine } from "../engine/engine.js";
import type { HostArray } from "../graph/host-array.js";
import type { Tensor } from "../graph/tensor.js";
import type { Variable, VariableHome } from "../graph/variable.js";
import { type EffectiveValues, usesOf, type WeightedModule } from "../nn/parametrization.js";
import { compile } from "../program/compile.js";
import type { Adaptation } from "./adapter.js";

export type Merge = (values: EffectiveValues) => EffectiveValues;

/** How an adaptation becomes part of its module, if it can: not where the weight has another use that it leaves as it is. */
export function mergeOf(module: WeightedModule, adaptation: Adaptation): Merge | undefined {
  const standsAround = (["map", "lookup"] as const).filter((use) => adaptation[use]);
  if (standsAround.length > 0 && [...usesOf(module)].some((use) => !standsAround.includes(use))) return undefined;
  if (adaptation.merged) return adaptation.merged.bind(adaptation);
  if (adaptation.map || adaptation.lookup) return undefined;
  return ({ weight, bias }) => ({
    weight: adaptation.weight?.(weight) ?? weight,
    bias: bias && (adaptation.bias?.(bias) ?? bias),
  });
}

export interface Original {
  /** Where the value lies in a file, or a copy. */
  readonly value: VariableHome | HostArray;
  /** The version that the merged value has. */
  version: number;
}

/** What adapters have become part of each variable, the last one last: they come off in the opposite order. */
const merges = new WeakMap<Variable, Original[]>();

/** Whether nothing has changed the variable since this became part of it. */
export const isLast = (variable: Variable, original: Original): boolean =>
  merges.get(variable)?.at(-1) === original && variable.version === original.version;

/** Gives variables the values back that they had, the newest merge first. */
export function restore(originals: ReadonlyMap<Variable, Original>): void {
  for (const [variable, { value }] of originals) {
    if ("data" in value) variable.write(value);
    else variable.moveTo(value);
    const others = merges.get(variable) as Original[];
    others.pop();
    const below = others.at(-1);
    if (below) below.version = variable.version;
  }
}

export async function mergeOne(
  { weight, bias }: WeightedModule,
  merge: Merge,
  originals: Map<Variable, Original>,
  engine: Engine | Promise<Engine> | undefined,
): Promise<void> {
  await using program = compile(
    () => {
      const merged = merge({ weight, bias });
      const changed: { weight?: Tensor; bias?: Tensor } = {
        ...(merged.weight !== weight && { weight: merged.weight }),
        ...(merged.bias && merged.bias !== bias && { bias: merged.bias }),
      };
      return changed;
    },
    {},
    engine ? { engine } : {},
  );
  const results = await program({});
  for (const [variable, value] of [
    [weight, results.weight],
    [bias, results.bias],
  ] as const) {
    if (!variable || !value) continue;
    const known = originals.get(variable);
    const original = known ?? { value: variable.file ? (variable.home as VariableHome) : await variable.read(), version: 0 };
    variable.write(value);
    original.version = variable.version;
    if (known) continue;
    originals.set(variable, original);
    merges.set(variable, [...(merges.get(variable) ?? []), original]);
  }
}
