/** All families of operators. Importing this file registers every operator. */

export * from "./activation.js";
export * from "./arithmetic.js";
export * from "./cast.js";
export * from "./compare.js";
export * from "./conv.js";
export * from "./cumulative.js";
export * from "./einsum.js";
export * from "./fill.js";
export * from "./indexing.js";
export * from "./loss.js";
export * from "./matmul.js";
export * from "./nonzero.js";
export * from "./norm.js";
export * from "./pool.js";
export * from "./range.js";
export * from "./rearrange.js";
export * from "./reduce.js";
export * from "./rope.js";
export * from "./select.js";
export * from "./shape.js";
export * from "./shape-slice.js";
export * from "./softmax.js";
export * from "./topk.js";
