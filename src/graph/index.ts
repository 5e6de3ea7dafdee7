/** What a computation is: tensors, operators, gradients, variables. */

import "./methods.js";

export { barrier } from "./barrier.js";
export { checkpoint } from "./checkpoint.js";
export { cond } from "./cond.js";
export { customGradient, stopGradient } from "./custom-gradient.js";
export {
  addDims,
  type Bindings,
  bindDim,
  bindShape,
  broadcastShapes,
  ceilDivDims,
  type Dim,
  divideExactly,
  floorDivDims,
  isStatic,
  isStaticShape,
  mulDims,
  type Shape,
  SymbolicDim,
  sameDim,
  sameShape,
  subDims,
  symbol,
} from "./dim.js";
export {
  allocate,
  bytesPerElement,
  type DType,
  type DTypeArrays,
  dtypes,
  type FloatDType,
  type IntegerDType,
  isDType,
  isFloat,
  isInteger,
  type TypedArray,
} from "./dtype.js";
export type { ExampleMaker, OpExample } from "./example.js";
export { grad, vectorJacobian } from "./gradient.js";
export { type Graph, nodesOf, type Pass, type Rewrite, rewriteGraph } from "./graph.js";
export { fromNumbers, type HostArray, hostArray, ResultArray, toNumbers } from "./host-array.js";
export { constant, input, random } from "./leaves.js";
export type { TensorMethods } from "./methods.js";
export type { OnnxAttributes, OnnxBuilder, OnnxValue } from "./onnx-face.js";
export {
  type Bound,
  defineOp,
  type NoAttributes,
  type OpDefinition,
  type OpTraits,
  operator,
  operators,
  type ReferenceArray,
} from "./op.js";
export * from "./ops/index.js";
export { printGraph } from "./print.js";
export { type NamedRandom, namedRandom } from "./random.js";
export { categorical, type GumbelSoftmaxOptions, gumbel, gumbelSoftmax } from "./sampling.js";
export { scan } from "./scan.js";
export type { SizeRequirement } from "./size-requirement.js";
export { roundStraightThrough, straightThrough } from "./straight-through.js";
export { type Node, Tensor } from "./tensor.js";
export { currentScope, isFetched, isTraining, named, withTraining } from "./trace.js";
export { type Initializer, Parameter, Variable, type VariableOptions } from "./variable.js";
