/** Parameters by the module that holds them. */

export interface ModuleParameters {
  /** Property path; `*` stands for every layer. */
  readonly module: string;
  /** How many there are of it. */
  readonly instances: number;
  /** In all of them together. */
  readonly parameters: number;
}

/** Layers taken together. */
export function byModule(shapes: readonly { readonly path: string; readonly parameters: number }[]): readonly ModuleParameters[] {
  const modules = new Map<string, { places: Set<string>; parameters: number }>();
  for (const { path, parameters } of shapes) {
    const place = path.includes(".") ? path.slice(0, path.lastIndexOf(".")) : "";
    const module = place.replace(/(?<=^|\.)\d+(?=\.|$)/g, "*");
    const known = modules.get(module) ?? { places: new Set(), parameters: 0 };
    known.places.add(place);
    modules.set(module, { places: known.places, parameters: known.parameters + parameters });
  }
  return [...modules].map(([module, { places, parameters }]) => ({ module, instances: places.size, parameters }));
}
