/** OpenVINO's errors, told in the words of the program: which operator of which module. */

import { TsumikiError } from "../../errors.js";

/** `ov_status_e` */
const statusNames: Readonly<Record<number, string>> = {
  [-1]: "general error",
  [-2]: "not implemented",
  [-3]: "network not loaded",
  [-4]: "parameter mismatch",
  [-5]: "not found",
  [-6]: "out of bounds",
  [-7]: "unexpected",
  [-8]: "request busy",
  [-9]: "result not ready",
  [-10]: "not allocated",
  [-11]: "inference not started",
  [-12]: "network not read",
  [-13]: "inference cancelled",
  [-14]: "invalid parameter",
  [-15]: "unknown error",
  [-16]: "not implemented in C",
  [-17]: "unknown exception",
};

export const invalidParameter = -14;

/** A call that OpenVINO answered with a status other than OK. */
export class OpenVinoError extends TsumikiError {
  /** `ov_status_e` */
  readonly status: number;

  constructor(call: string, status: number, message: string) {
    super("ENGINE", `OpenVINO: ${message || statusNames[status] || "no reason given"} (${call} gave status ${status})`);
    this.status = status;
  }
}

/** Where OpenVINO writes the name of the node that it speaks of. */
const nodeNamePatterns = [
  /\bnode with name '([^']+)'/, // while running
  /ONNX node '<Node\(\w*\): ([^>]+)>'/, // reading
  /\bUnsupported operation of type: \w+ name: (\S+)/, // compiling
  /\bfriendly_name '([^']+)'/, // inferring shapes
];

/**
 * An error with the operator that it is about. `producers`: names of values that were outputs → names of the nodes that made
 * them, for OpenVINO calls a node by its output where there is one.
 */
export function explained(doing: string, error: unknown, producers: ReadonlyMap<string, string>): TsumikiError {
  if (error instanceof TsumikiError && error.code !== "ENGINE") return error;
  const message = error instanceof Error ? error.message : String(error);
  const operator = describeNode(message, producers);
  return new TsumikiError("ENGINE", `openvino ${doing}${operator ? ` at ${operator}` : ""}: ${plainMessage(message)}`, {
    cause: error,
  });
}

/** Our writer names nodes `path of the module/operator/number`. */
function describeNode(message: string, producers: ReadonlyMap<string, string>): string | undefined {
  for (const pattern of nodeNamePatterns) {
    const [, name] = pattern.exec(message) ?? [];
    if (name === undefined) continue;
    const parts = (producers.get(name) ?? name).split("/");
    const operator = parts.at(-2);
    if (operator === undefined) continue;
    const scope = parts.slice(0, -2).join("/");
    return scope ? `'${operator}' in ${scope}` : `'${operator}'`;
  }
  return undefined;
}

/** The message without what OpenVINO puts around it: source files, the conditions of its checks, empty lines. */
export const plainMessage = (message: string): string =>
  message
    .replace(/^OpenVINO: /, "")
    .replace(/^(Exception from \S+:\d+:|Summary:|Details:|FrontEnd API failed with \w+:)\s*$/gm, "")
    .replace(/Check '.*?' failed at \S+:\d+:/g, "")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .join("\n");
