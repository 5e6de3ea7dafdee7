import { TsumikiError } from "../errors.js";

/** What is at an address. */
export async function fetchBytes(url: string, signal?: AbortSignal): Promise<Uint8Array> {
  try {
    const response = await fetch(url, { signal: signal ?? null });
    if (!response.ok) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    if (signal?.aborted) throw new TsumikiError("ABORTED", `Loading ${url} was stopped.`, { cause });
    throw new TsumikiError("NETWORK", `${url} could not be loaded: ${(cause as Error).message}`, { cause });
  }
}
