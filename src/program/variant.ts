/** One compiled form of a program: a model loaded into an engine, with the buffers that its runs reuse. */

import type { Engine, EngineBuffer, LoadedModel } from "../engine/engine.js";
import { modelSource } from "../engine/model-source.js";
import { type Atom, bindShape, isStaticShape } from "../graph/dim.js";
import type { Graph } from "../graph/graph.js";
import { type HostArray, ResultArray } from "../graph/host-array.js";
import { checkSizes, type DataCondition, dataConditions } from "../graph/size-conditions.js";
import type { Variable } from "../graph/variable.js";
import { optimize, type Precision } from "../onnx/passes/index.js";
import type { ProgramGraph } from "./build.js";
import { DeviceValue, type FeedValue, isOnDevice, onHost } from "./device-value.js";
import { frozenWeights } from "./frozen-weights.js";
import { drawNoise, type NoiseKey } from "./noise.js";
import type { Piece } from "./pieces.js";
import { leastBytesInPlace, type SplitProgram, splitUpdates } from "./split-updates.js";
import { type StateStore, stateStore } from "./store.js";

interface VariantOptions {
  readonly frozen: boolean;
  readonly precision: Precision;
  /** Whether the function would be traced in another way by now. */
  readonly isOutdated: () => boolean;
  readonly updateInPlace: boolean | undefined;
  readonly narrow: boolean;
}

/** Elements that are updated at once: 4 MiB of float32, of which what lies in between stays in a processor's cache. */
const mostElementsInPlace = 2 ** 20;

/** A model with the names of its inputs. */
interface Loaded {
  readonly model: LoadedModel;
  readonly graph: Graph;
}

/** The run that puts new values over old ones. */
interface Second extends Loaded {
  readonly split: SplitProgram;
}

export type Result = ResultArray | DeviceValue;

export interface RunRequest {
  readonly feeds: ReadonlyMap<string, FeedValue>;
  readonly bindings: ReadonlyMap<Atom, number>;
  readonly noiseKey: NoiseKey;
  /** Names of outputs that stay on the engine. */
  readonly kept: ReadonlySet<string>;
  /** Whether variables take their new values. */
  accept(results: ReadonlyMap<string, Result>): boolean;
}

export interface VariantRun {
  /** By output name, without updates. */
  readonly results: ReadonlyMap<string, Result>;
  readonly engineSeconds: number;
}

export class Variant {
  readonly #engine: Engine;
  readonly #store: StateStore;
  readonly #graph: ProgramGraph;
  readonly #first: Loaded;
  readonly #second: Second | undefined;
  /** Versions of the variables that were written into the model. */
  readonly #frozenVersions: ReadonlyMap<Variable, number>;
  readonly #isOutdated: () => boolean;
  /** Outputs that say whether sizes which the data decides about go together. */
  readonly #conditions: ReadonlyMap<string, DataCondition>;
  /** Buffers of feeds, noise and results whose shapes do not change. */
  readonly #buffers = new Map<string, EngineBuffer>();
  /** Of the buffers that are updated in pieces, by the first element. */
  readonly #views = new Map<EngineBuffer, Map<number, EngineBuffer>>();

  private constructor(
    engine: Engine,
    graph: ProgramGraph,
    { first, second }: { readonly first: Loaded; readonly second?: Second },
    frozenVersions: ReadonlyMap<Variable, number>,
    isOutdated: () => boolean,
    conditions: ReadonlyMap<string, DataCondition>,
  ) {
    this.#engine = engine;
    this.#store = stateStore(engine);
    this.#graph = graph;
    this.#first = first;
    this.#second = second;
    this.#frozenVersions = frozenVersions;
    this.#isOutdated = isOutdated;
    this.#conditions = conditions;
  }

  static async load(engine: Engine, program: ProgramGraph, options: VariantOptions): Promise<Variant> {
    const { frozen, precision, updateInPlace, narrow, isOutdated } = options;
    const updated = new Set(program.updates.values());
    // OpenVINO does not round constants to bfloat16 correctly: every other one is cut off, so all become smaller.
    const freezes = frozen && precision === "fp32";
    const constant = new Map([...program.variables].filter(([, variable]) => freezes && !updated.has(variable)));
    // Before their values: one that is written meanwhile makes the variant stale.
    const versions = new Map([...constant.values()].map((variable) => [variable, variable.version]));
    const { constants, externalFiles, loaded } = await frozenWeights(constant);
    const conditions = new Map(dataConditions(program).map((condition, i) => [`size:${i}`, condition]));
    const outputs = new Map([...program.outputs, ...[...conditions].map(([name, { value }]) => [name, value] as const)]);
    const checked = conditions.size === 0 ? program : { ...program, outputs };
    const graph = optimize(checked, precision);
    const mayOverwrite = engine.overwritesInputs === true && updateInPlace !== false && constant.size === 0;
    const split = mayOverwrite
      ? splitUpdates(checked, graph, {
          leastBytes: updateInPlace ? 0 : leastBytesInPlace,
          mostElements: mostElementsInPlace,
        })
      : undefined;
    const whole = split?.first ?? graph;
    const source = modelSource(engine, whole, { frozen: constants, externalFiles, narrow });
    const first = { model: await engine.load(source).finally(loaded), graph: whole };
    if (!split) return new Variant(engine, checked, { first }, versions, isOutdated, conditions);
    try {
      const model = await engine.load(modelSource(engine, split.second, { overwrites: split.overwrites }));
      return new Variant(
        engine,
        checked,
        { first, second: { model, graph: split.second, split } },
        versions,
        isOutdated,
        conditions,
      );
    } catch (error) {
      await first.model.release();
      throw error;
    }
  }

  /** Whether a variable that was written into the model has another value by now, or the function would be traced in another way. */
  isStale(): boolean {
    return this.#isOutdated() || [...this.#frozenVersions].some(([variable, version]) => variable.version !== version);
  }

  /** Only one run at a time may touch the state: call it from a task of the store's queue. */
  async run({ feeds, bindings, noiseKey, kept, accept }: RunRequest): Promise<VariantRun> {
    checkSizes(this.#graph, bindings);
    const inputs = new Map<string, EngineBuffer>();
    for (const [name, feed] of feeds) inputs.set(`feed:${name}`, await this.#feed(`feed:${name}`, feed));
    for (const [name, { tensor, attributes }] of this.#graph.noise)
      inputs.set(name, await this.#fill(name, drawNoise(attributes, bindShape(tensor.shape, bindings), noiseKey)));
    for (const [name, variable] of this.#graph.variables)
      if (!this.#frozenVersions.has(variable)) inputs.set(name, await this.#store.current(variable));

    const outputs = new Map<string, EngineBuffer | undefined>();
    for (const [name, tensor] of this.#first.graph.outputs) {
      const variable = this.#graph.updates.get(name);
      if (variable) {
        await this.#store.current(variable);
        outputs.set(name, await this.#store.spare(variable));
      } else if (!isStaticShape(tensor.shape)) outputs.set(name, undefined);
      else if (kept.has(name)) outputs.set(name, await this.#engine.allocate(tensor.dtype, tensor.shape));
      else outputs.set(name, await this.#buffer(name, tensor.dtype, tensor.shape));
    }

    const started = performance.now();
    const produced = await this.#first.model.run(forModel(this.#first, inputs), outputs).catch(async (error: unknown) => {
      for (const name of kept) await this.#release(outputs.get(name));
      throw error;
    });
    let engineSeconds = (performance.now() - started) / 1000;

    const results = new Map<string, Result>();
    for (const [name, buffer] of produced)
      if (this.#graph.outputs.has(name) && !this.#graph.updates.has(name))
        results.set(name, kept.has(name) ? await this.#keep(buffer, outputs.get(name)) : await this.#read(name, buffer));
    const updates = new Map(
      [...this.#graph.updates].flatMap(([name, variable]) => {
        const buffer = produced.get(name);
        return buffer ? [[variable, buffer] as const] : [];
      }),
    );
    const inPlace = this.#second && {
      variables: this.#second.split.updates.map((name) => this.#graph.updates.get(name) as Variable),
      write: async () => {
        const begun = performance.now();
        await this.#runSecond(this.#second as Second, inputs, produced);
        engineSeconds += (performance.now() - begun) / 1000;
      },
    };
    let accepted = false;
    try {
      for (const [name, condition] of this.#conditions) {
        condition.check((results.get(name) as ResultArray).item());
        results.delete(name);
      }
      accepted = accept(results);
    } catch (error) {
      for (const result of results.values()) if (result instanceof DeviceValue) await result.dispose();
      throw error;
    } finally {
      await (accepted ? this.#store.commit(updates, inPlace) : this.#store.discard(updates));
    }
    return { results, engineSeconds };
  }

  /** Not while it runs: from a task of the store's queue. */
  async release(): Promise<void> {
    await this.#first.model.release();
    await this.#second?.model.release();
    for (const views of this.#views.values()) for (const view of views.values()) await this.#engine.release(view);
    this.#views.clear();
    for (const buffer of this.#buffers.values()) await this.#engine.release(buffer);
    this.#buffers.clear();
  }

  async #runSecond(
    second: Second,
    inputs: ReadonlyMap<string, EngineBuffer>,
    produced: ReadonlyMap<string, EngineBuffer>,
  ): Promise<void> {
    const { carried, overwrites, pieces } = second.split;
    const given = new Map([...inputs, ...[...carried.keys()].map((name) => [name, produced.get(name) as EngineBuffer] as const)]);
    for (const name of [...second.graph.inputs.keys(), ...overwrites.values()]) {
      const piece = pieces.get(name);
      if (piece) given.set(name, await this.#view(given.get(piece.whole) as EngineBuffer, piece));
    }
    // The buffers that the first run has read: what the host has written since then is in none of them.
    const outputs = new Map([...overwrites].map(([name, old]) => [name, given.get(old) as EngineBuffer]));
    await second.model.run(forModel(second, given), outputs);
  }

  /** Views are made once for each buffer: those of state and gradients stay. */
  async #view(whole: EngineBuffer, { start, count }: Piece): Promise<EngineBuffer> {
    const views = this.#views.get(whole) ?? new Map<number, EngineBuffer>();
    this.#views.set(whole, views);
    const known = views.get(start);
    if (known) return known;
    const view = await this.#engine.view?.(whole, start, [count]);
    if (!view) throw new Error(`${this.#engine.name} writes over inputs, but has no views of its buffers.`);
    views.set(start, view);
    return view;
  }

  /** @param given the buffer that was meant for it, which not every engine fills */
  async #keep(buffer: EngineBuffer, given: EngineBuffer | undefined): Promise<DeviceValue> {
    if (given !== buffer) await this.#release(given);
    return new DeviceValue(this.#engine, buffer);
  }

  async #read(name: string, buffer: EngineBuffer): Promise<ResultArray> {
    const result = new ResultArray(await this.#engine.read(buffer));
    if (buffer !== this.#buffers.get(name)) await this.#engine.release(buffer);
    return result;
  }

  async #release(buffer: EngineBuffer | undefined): Promise<void> {
    if (buffer) await this.#engine.release(buffer);
  }

  /** The buffer behind a value of this engine, or one of our own that is filled. */
  async #feed(name: string, feed: FeedValue): Promise<EngineBuffer> {
    return isOnDevice(feed) && feed.engine === this.#engine ? feed.buffer : this.#fill(name, await onHost(feed));
  }

  /** A buffer with the array's data, the same one as last time when the shape has not changed. */
  async #fill(name: string, array: HostArray): Promise<EngineBuffer> {
    const buffer = await this.#buffer(name, array.dtype, array.shape);
    await this.#engine.write(buffer, array);
    return buffer;
  }

  async #buffer(name: string, dtype: HostArray["dtype"], shape: readonly number[]): Promise<EngineBuffer> {
    const known = this.#buffers.get(name);
    if (known && known.shape.length === shape.length && known.shape.every((size, axis) => size === shape[axis])) return known;
    if (known) await this.#engine.release(known);
    const buffer = await this.#engine.allocate(dtype, shape);
    this.#buffers.set(name, buffer);
    return buffer;
  }
}

/** What of the given buffers a model takes. */
const forModel = ({ graph }: Loaded, buffers: ReadonlyMap<string, EngineBuffer>): ReadonlyMap<string, EngineBuffer> =>
  new Map([...buffers].filter(([name]) => graph.inputs.has(name)));
