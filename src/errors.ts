/**
 * Errors that a person can act on: each says what was given, what was expected and what to do, and carries a stable
 * `code` that programs can test for.
 */

export type ErrorCode =
  | "SHAPE" // operands do not fit together
  | "DTYPE" // a value has the wrong element type
  | "ARGUMENT" // an option or argument is out of its domain
  | "TRACE" // a symbolic tensor was used where only numbers can be
  | "GRADIENT" // a gradient was asked for that does not exist
  | "FEED" // a program was called with inputs that do not fit its signature
  | "STATE" // parameters, buffers or optimizer state are inconsistent
  | "RELEASED" // a program or buffer was used after its release
  | "ENGINE_ABSENT" // an engine or device is not installed here
  | "PRECISION" // an engine does not compute in the precision that was asked for
  | "ENGINE" // an engine refused a model or failed while it ran
  | "ABORTED" // an AbortSignal stopped the work
  | "NOT_FINITE" // a loss or a value became NaN or infinite
  | "CHECKPOINT" // a checkpoint is truncated, foreign or does not fit
  | "DATA" // text or tokens are missing, empty or too short
  | "TOKENIZER" // a tokenizer cannot be trained or does not fit
  | "CONFIG" // a recipe or model configuration is invalid
  | "NETWORK"; // a download failed

/** The base of every error that Tsumiki throws on purpose. */
export class TsumikiError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** Shapes or sizes that do not fit an operator. */
export class ShapeError extends TsumikiError {
  constructor(message: string, options?: ErrorOptions) {
    super("SHAPE", message, options);
  }
}

/** An element type that an operator or a program does not take. */
export class DTypeError extends TsumikiError {
  constructor(message: string, options?: ErrorOptions) {
    super("DTYPE", message, options);
  }
}

/** An argument outside its domain. */
export class ArgumentError extends TsumikiError {
  constructor(message: string, options?: ErrorOptions) {
    super("ARGUMENT", message, options);
  }
}
