/** A request, with the tensors that it reads and writes now. */

import type { Handle, OpenVino, Port } from "./c-api.js";
import type { BufferTensor } from "./host-buffer.js";

/** What is to lie at each port of a run; `undefined` is OpenVINO's own memory. */
export type Bindings = readonly (readonly [port: Port, tensor: BufferTensor | undefined])[];

export class BoundRequest {
  readonly handle: Handle;
  readonly #library: OpenVino;
  readonly #bound = new Map<Port, BufferTensor>();
  /** OpenVINO's own memory at ports that have had another one, made when it is needed again. */
  readonly #own = new Map<Port, Handle>();

  constructor(library: OpenVino, compiled: Handle) {
    this.#library = library;
    this.handle = library.createRequest(compiled);
  }

  /** Whether it has not been told of any memory yet. */
  get isNew(): boolean {
    return this.#bound.size === 0;
  }

  /** How many tensors lie elsewhere. */
  differences(bindings: Bindings): number {
    return bindings.reduce((count, [port, tensor]) => count + Number(this.#bound.get(port) !== tensor), 0);
  }

  bind(bindings: Bindings): void {
    for (const [port, tensor] of bindings) {
      if (this.#bound.get(port) === tensor) continue;
      this.#library.setTensor(this.handle, port.handle, tensor?.handle ?? this.#ownTensor(port));
      if (tensor) this.#bound.set(port, tensor);
      else this.#bound.delete(port);
    }
  }

  release(): void {
    for (const tensor of this.#own.values()) this.#library.freeTensor(tensor);
    this.#library.freeRequest(this.handle);
  }

  #ownTensor(port: Port): Handle {
    const tensor =
      this.#own.get(port) ??
      this.#library.createTensor(
        port.dtype,
        port.shape.map((size) => Math.max(size, 0)),
      );
    this.#own.set(port, tensor);
    return tensor;
  }
}
