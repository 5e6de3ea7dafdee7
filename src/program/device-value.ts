/** A result that stays where it was computed. */

import type { Engine, EngineBuffer } from "../engine/engine.js";
import { TsumikiError } from "../errors.js";
import type { DType } from "../graph/dtype.js";
import { type HostArray, ResultArray } from "../graph/host-array.js";

/**
 * A value in memory of an engine, e.g. on a graphics card: what a program was asked to `keep`. Programs on the same engine take it
 * as a feed without a copy; on another engine it is copied there. Its memory is freed by `dispose()`, when the engine is closed, or
 * some time after nobody holds it any more.
 */
export class DeviceValue {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly #held: Held;

  /** @internal Takes the buffer over. */
  constructor(engine: Engine, buffer: EngineBuffer) {
    this.dtype = buffer.dtype;
    this.shape = [...buffer.shape];
    this.#held = { engine, buffer, users: 0, disposed: false };
    holdings.set(this, this.#held);
    forgotten.register(this, this.#held, this.#held);
  }

  /** A copy in host memory. */
  async read(): Promise<ResultArray> {
    const use = useDeviceValue(this, "The value");
    try {
      return new ResultArray(await use.engine.read(use.buffer));
    } finally {
      await use.end();
    }
  }

  /** Frees the memory, once the calls that were fed with the value so far are over. A second call does nothing. */
  async dispose(): Promise<void> {
    if (this.#held.disposed) return;
    this.#held.disposed = true;
    forgotten.unregister(this.#held);
    if (this.#held.users === 0) await this.#held.engine.release(this.#held.buffer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

interface Held {
  readonly engine: Engine;
  readonly buffer: EngineBuffer;
  /** Calls and reads that need it. */
  users: number;
  disposed: boolean;
}

const holdings = new WeakMap<DeviceValue, Held>();

const forgotten = new FinalizationRegistry<Held>(({ engine, buffer }) => {
  engine.release(buffer).catch(() => undefined); // the engine was closed, or its device is lost: there is nothing left to free
});

export interface DeviceValueUse {
  readonly engine: Engine;
  readonly buffer: EngineBuffer;
  end(): Promise<void>;
}

/**
 * The buffer behind a value, which stays until the use ends.
 *
 * @throws TsumikiError RELEASED when the value was disposed of
 */
export function useDeviceValue(value: DeviceValue, what: string): DeviceValueUse {
  const held = holdings.get(value) as Held;
  if (held.disposed)
    throw new TsumikiError("RELEASED", `${what} was kept by an engine and disposed of: it is not there any more.`);
  held.users++;
  return {
    engine: held.engine,
    buffer: held.buffer,
    async end() {
      // `value` is held until here, so that nobody takes it for forgotten.
      if (--held.users === 0 && holdings.get(value)?.disposed) await held.engine.release(held.buffer);
    },
  };
}

/** What a program is fed with, as it is when the call begins: a copy in host memory, or a value that stays until its use ends. */
export type FeedValue = HostArray | DeviceValueUse;

export const isOnDevice = (feed: FeedValue): feed is DeviceValueUse => "buffer" in feed;

/** The feed in host memory. */
export const onHost = async (feed: FeedValue): Promise<HostArray> => (isOnDevice(feed) ? feed.engine.read(feed.buffer) : feed);

export async function endFeeds(feeds: ReadonlyMap<string, FeedValue>): Promise<void> {
  for (const feed of feeds.values()) if (isOnDevice(feed)) await feed.end();
}
