/** ONNX Runtime's errors, told in the words of the program: which operator of which module failed. */

import { TsumikiError } from "../../errors.js";

/** Where ONNX Runtime writes the name of the node that it speaks of. */
const nodeNamePatterns = [
  /Name:'([^']*)'/, // while running
  /\bnode with name '([^']*)'/, // no kernel for it
  /\b[Nn]ode:? ?\(([^()]*)\)/, // shape and type inference
  /\bnode_name: ?(\S+)/,
  /\bNode:(\S+)/,
];

/** Our writer names nodes `path of the module/operator/number`. */
function describeNode(message: string): string | undefined {
  for (const pattern of nodeNamePatterns) {
    const parts = pattern.exec(message)?.[1]?.split("/");
    const operator = parts?.at(-2);
    if (!parts || !operator) continue;
    const scope = parts.slice(0, -2).join("/");
    return scope ? `'${operator}' in ${scope}` : `'${operator}'`;
  }
  return undefined;
}

/** The message without what ONNX Runtime puts around it: source files, function signatures, status codes. */
export const plainMessage = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error))
    .replace(/\S+\.(?:cc|h):\d+ .*?(?:\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : |was false\. )/gs, "")
    .replace(/\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : /g, "")
    .replace(/failed to call OrtRun\(\)\. ERROR_CODE: \d+, ERROR_MESSAGE: /g, "")
    .trim();

/** An error of ONNX Runtime as one of ours. `doing`: "refused the model", "failed while it ran". */
export function engineError(engine: string, doing: string, error: unknown): TsumikiError {
  if (error instanceof TsumikiError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/Unsupported data type: 16/.test(message))
    return new TsumikiError(
      "ENGINE",
      `${engine} takes no bfloat16 values from outside a model, nor gives any back. Keep them inside: cast inputs from float32 and outputs to it.`,
      { cause: error },
    );
  const node = describeNode(message);
  return new TsumikiError("ENGINE", `${engine} ${doing}${node ? ` at ${node}` : ""}: ${plainMessage(error)}`, { cause: error });
}
