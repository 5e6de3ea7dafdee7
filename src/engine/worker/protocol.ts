/** What an engine in a worker and its stand-in outside say to each other. */

import { ArgumentError, DTypeError, type ErrorCode, ShapeError, TsumikiError } from "../../errors.js";
import type { DType } from "../../graph/dtype.js";
import type { HostArray } from "../../graph/host-array.js";
import type { Device, ExternalFile } from "../engine.js";
import type { EngineOptions } from "../registry.js";

/** Buffers and models go by numbers that the worker gives out. */
export interface BufferTicket {
  readonly id: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** The calls, each answered by what it returns. */
export interface Calls {
  create(options: EngineOptions): {
    readonly name: string;
    readonly device: Device;
    readonly version: string;
    readonly threads: number;
    readonly overwritesInputs: boolean;
  };
  allocate(dtype: DType, shape: readonly number[]): BufferTicket;
  upload(array: HostArray): BufferTicket;
  write(buffer: number, array: HostArray): void;
  read(buffer: number): HostArray;
  view(buffer: number, start: number, shape: readonly number[]): BufferTicket;
  release(buffer: number): void;
  load(model: Uint8Array, externalFiles: readonly ExternalFile[], overwrites: ReadonlyMap<string, string> | undefined): number;
  run(
    model: number,
    inputs: readonly (readonly [name: string, buffer: number])[],
    outputs: readonly (readonly [name: string, buffer: number | undefined])[],
  ): readonly (readonly [name: string, buffer: BufferTicket])[];
  releaseModel(model: number): void;
  close(): void;
}

export type CallName = keyof Calls;

export interface Request<K extends CallName = CallName> {
  readonly id: number;
  readonly call: K;
  readonly parameters: Parameters<Calls[K]>;
}

export type Reply = { readonly id: number } & ({ readonly result: unknown } | { readonly error: PlainError });

/** An error as a message can carry it: classes do not survive the way. */
export interface PlainError {
  readonly message: string;
  readonly code?: ErrorCode;
  readonly cause?: PlainError;
}

export function toPlainError(error: unknown): PlainError {
  if (!(error instanceof Error)) return { message: String(error) };
  return {
    message: error.message,
    ...(error instanceof TsumikiError ? { code: error.code } : {}),
    ...(error.cause === undefined ? {} : { cause: toPlainError(error.cause) }),
  };
}

export function fromPlainError({ message, code, cause }: PlainError): Error {
  const options = cause ? { cause: fromPlainError(cause) } : {};
  if (code === undefined) return new Error(message, options);
  if (code === "SHAPE") return new ShapeError(message, options);
  if (code === "DTYPE") return new DTypeError(message, options);
  if (code === "ARGUMENT") return new ArgumentError(message, options);
  return new TsumikiError(code, message, options);
}

/** What can be handed over instead of copied: the memory of arrays that were made for this message. */
export const transferOf = (...arrays: readonly { readonly data: ArrayBufferView }[]): ArrayBuffer[] =>
  arrays.map(({ data }) => data.buffer as ArrayBuffer);
