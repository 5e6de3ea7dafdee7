/** The graph as an ONNX model: passes and the writer. */

export {
  bfloat16Products,
  broadcastInOperators,
  commonSubexpressions,
  optimize,
  type Precision,
  simplify,
  standardPasses,
  transposeIntoMatmul,
} from "./passes/index.js";
export { type ExternalConstant, type WriteOptions, writeOnnx } from "./writer.js";
