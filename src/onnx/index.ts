/** The graph as an ONNX model: passes and the writer. */

export {
  broadcastInOperators,
  commonSubexpressions,
  optimize,
  simplify,
  standardPasses,
  transposeIntoMatmul,
} from "./passes/index.js";
export { type ExternalConstant, type WriteOptions, writeOnnx } from "./writer.js";
