/** Pieces of the ONNX schema as the writer makes them: tensors, types, names. */

import { create } from "@bufbuild/protobuf";
import { asAtom, type Dim, isStatic, type Shape, type SymbolicDim } from "../graph/dim.js";
import { type DType, onnxDType, type TypedArray } from "../graph/dtype.js";
import type { HostArray } from "../graph/host-array.js";
import {
  TensorProto_DataLocation as DataLocation,
  type NodeProto,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "./schema/onnx_pb.js";

/** A constant whose bytes lie in a file: `offset` and `length` in bytes. */
export interface ExternalConstant {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
  /** What its elements are there, where they are converted when the model is loaded. Default: what the graph has. */
  readonly dtype?: DType;
}

/** Renames values in nodes, and in the bodies of nodes, which see outer values by name. */
export function renameValues(nodes: readonly NodeProto[], names: ReadonlyMap<string, string>): void {
  const renamed = (value: string) => names.get(value) ?? value;
  for (const node of nodes) {
    node.input = node.input.map(renamed);
    node.output = node.output.map(renamed);
    for (const { g } of node.attribute) if (g) renameValues(g.node, names);
  }
}

export const bytesOf = (data: TypedArray): Uint8Array<ArrayBuffer> =>
  new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);

export const inlineTensor = (name: string, { dtype, shape, data }: HostArray): TensorProto =>
  create(TensorProtoSchema, { name, dataType: onnxDType(dtype), dims: shape.map(BigInt), rawData: bytesOf(data) });

export function externalTensor(
  name: string,
  dtype: DType,
  shape: Shape,
  { location, offset, length }: ExternalConstant,
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: onnxDType(dtype),
    dims: (shape as readonly number[]).map(BigInt),
    dataLocation: DataLocation.EXTERNAL,
    externalData: Object.entries({ location, offset, length }).map(([key, value]) => ({ key, value: String(value) })),
  });
}

/** Sizes that are not plain symbols are left open: ONNX has no arithmetic on dimension names. */
export function valueInfo(name: string, { dtype, shape }: { readonly dtype: DType; readonly shape: Shape }): ValueInfoProto {
  const dim = (size: Dim) =>
    isStatic(size)
      ? { value: { case: "dimValue" as const, value: BigInt(size) } }
      : { value: { case: "dimParam" as const, value: paramName(size) } };
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType: onnxDType(dtype), shape: { dim: shape.map(dim) } } } },
  });
}

/** Equal sizes get equal names; different atoms of one name are told apart by their ids. */
const paramName = (dim: SymbolicDim): string => {
  const atom = asAtom(dim);
  return atom ? `${atom.name}_${atom.id}` : `dim_${dim.key}`;
};
