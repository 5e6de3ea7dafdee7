/**
 * Weights that take effect in another form than they are kept in: low-rank adapters, quantized storage, masks, scales. A
 * parametrization is put on a module from outside. The module, its parameters and their names stay as they are; what the
 * parametrization trains stands in a tree of its own.
 */

import { ArgumentError } from "../errors.js";
import type { Tensor } from "../graph/tensor.js";
import { currentTrace } from "../graph/trace.js";
import type { Parameter } from "../graph/variable.js";
import type { Module } from "./module.js";

/** A module that computes with one weight, and perhaps a bias: linear maps, convolutions, embeddings, norms. */
export interface WeightedModule extends Module {
  readonly weight: Parameter;
  readonly bias?: Parameter | undefined;
}

/**
 * What is put on a module. Each method is optional and stands for one way of taking effect; methods see the module's own input and
 * trace like any other code of a `forward`.
 */
export interface Parametrization {
  /** The weight that is computed with, of the same shape and dtype, wherever the module's weight is used. */
  weight?(weight: Tensor): Tensor;
  /** The bias that is computed with, of the same shape and dtype, where the module has one. */
  bias?(bias: Tensor): Tensor;
  /**
   * Around the linear map of a module, its bias included; an `Embedding` that is the last layer too maps as well as it looks up.
   *
   * @param inner the map without this parametrization and those that were put on later
   */
  map?(x: Tensor, inner: (x: Tensor) => Tensor): Tensor;
  /** Around the lookup of an `Embedding`: ids [...] → [..., dimension]. */
  lookup?(ids: Tensor, inner: (ids: Tensor) => Tensor): Tensor;
  /** Whether it takes effect in what is being traced. Default: yes. */
  isActive?(): boolean;
}

/** What was put on one module. */
class Site {
  /** Grows with every change: programs that were traced before are made again. */
  version = 0;
  readonly parametrizations: Parametrization[] = [];
  /** In which ways programs have computed with the module. */
  readonly uses = new Set<"map" | "lookup">();
}

const sites = new WeakMap<Module, Site>();

function siteOf(module: Module): Site {
  const site = sites.get(module) ?? new Site();
  sites.set(module, site);
  return site;
}

/** Puts a parametrization on a module, on top of those that are there. Compiled programs that use the module follow. */
export function parametrize(module: WeightedModule, parametrization: Parametrization): void {
  const site = siteOf(module);
  if (site.parametrizations.includes(parametrization))
    throw new ArgumentError(`The ${module.constructor.name} has this parametrization already.`);
  site.parametrizations.push(parametrization);
  site.version++;
}

/** Takes a parametrization off again. */
export function unparametrize(module: WeightedModule, parametrization: Parametrization): void {
  const site = siteOf(module);
  const place = site.parametrizations.indexOf(parametrization);
  if (place < 0) throw new ArgumentError(`The ${module.constructor.name} does not have this parametrization.`);
  site.parametrizations.splice(place, 1);
  site.version++;
}

/** Says that a parametrization of the module takes effect in another way than before, other than by the values of its variables. */
export const parametrizationChanged = (module: WeightedModule): void => void siteOf(module).version++;

/** What is on a module, the first that was put on first. */
export const parametrizationsOf = (module: Module): readonly Parametrization[] => [...siteOf(module).parametrizations];

function activeOn(module: Module): readonly Parametrization[] {
  const site = siteOf(module);
  currentTrace()?.dependOn(site);
  return site.parametrizations.filter((each) => each.isActive?.() ?? true);
}

export interface EffectiveValues {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

/** What a module computes with in place of its parameters. */
export const effectiveValues = (module: WeightedModule): EffectiveValues => effective(module, activeOn(module));

/** In which ways programs that were traced so far compute with the module's weight: of a tied embedding, in both. */
export const usesOf = (module: Module): ReadonlySet<"map" | "lookup"> => new Set(siteOf(module).uses);

/** The weight that a module computes with. */
export const effectiveWeight = (module: WeightedModule): Tensor => effectiveValues(module).weight;

const effective = ({ weight, bias }: WeightedModule, active: readonly Parametrization[]): EffectiveValues => ({
  weight: active.reduce((value: Tensor, each) => each.weight?.(value) ?? value, weight),
  bias: bias && active.reduce((value: Tensor, each) => each.bias?.(value) ?? value, bias),
});

type Around = (x: Tensor, inner: (x: Tensor) => Tensor) => Tensor;

function through(
  module: WeightedModule,
  x: Tensor,
  innermost: (x: Tensor, values: EffectiveValues) => Tensor,
  use: "map" | "lookup",
): Tensor {
  siteOf(module).uses.add(use);
  const active = activeOn(module);
  const values = effective(module, active);
  const layers = active.map((each): Around | undefined => each[use]?.bind(each)).filter((around) => around !== undefined);
  return layers.reduce(
    (inner: (x: Tensor) => Tensor, around) => (y) => around(y, inner),
    (y) => innermost(y, values),
  )(x);
}

/** A module's linear map, with all that was put on it. `map` is the map by given values. */
export const mapThrough = (module: WeightedModule, x: Tensor, map: (x: Tensor, values: EffectiveValues) => Tensor): Tensor =>
  through(module, x, map, "map");

/** An embedding's lookup, likewise. */
export const lookUpThrough = (
  module: WeightedModule,
  ids: Tensor,
  lookUp: (ids: Tensor, values: EffectiveValues) => Tensor,
): Tensor => through(module, ids, lookUp, "lookup");
