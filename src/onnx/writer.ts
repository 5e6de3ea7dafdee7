/** Writes a graph as an ONNX model (https://onnx.ai/onnx/repo-docs/IR.html). */

import { create, toBinary } from "@bufbuild/protobuf";
import { ArgumentError, TsumikiError } from "../errors.js";
import { type Atom, asAtom, atomsOf, isStatic, isStaticShape, type Shape, type SymbolicDim } from "../graph/dim.js";
import { type DType, encode, onnxDType } from "../graph/dtype.js";
import { countUses, type Graph, nodesOf } from "../graph/graph.js";
import type { HostArray } from "../graph/host-array.js";
import { constantOp, constantValue } from "../graph/leaves.js";
import type { OnnxAttribute, OnnxAttributes, OnnxBuilder, OnnxNodeOptions, OnnxSubgraph, OnnxValue } from "../graph/onnx-face.js";
import type { OnnxFace } from "../graph/op.js";
import { dependsOnData, openRequirements } from "../graph/size-conditions.js";
import type { Attributes, Node, Tensor } from "../graph/tensor.js";
import { bytesOf, type ExternalConstant, externalTensor, inlineTensor, renameValues, valueInfo } from "./protos.js";
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  type ValueInfoProto,
} from "./schema/onnx_pb.js";

export type { ExternalConstant };

/** The version of standard ONNX that the operators' faces are written for, and the file format that goes with it. */
const OPSET = 21;
const IR_VERSION = 10n;

export interface WriteOptions {
  /** Faces to use instead of the operators' own, by operator name. */
  readonly faces?: Readonly<Record<string, OnnxFace<Attributes>>>;
  /** Inputs of the graph that become initializers: their data, or where it lies. */
  readonly frozen?: ReadonlyMap<string, HostArray | ExternalConstant>;
  /**
   * Initializers of another element type than the graph has are converted in each run, where they are needed, instead of once: they stay
   * in memory as they were stored. Default: no.
   */
  readonly widenLate?: boolean;
}

/** The model as the bytes of a `ModelProto`. Inputs and outputs keep the names they have in the graph. */
export function writeOnnx(graph: Graph, options: WriteOptions = {}): Uint8Array<ArrayBuffer> {
  return new OnnxWriter(graph, options).write();
}

class OnnxWriter {
  readonly #graph: Graph;
  readonly #faces: Readonly<Record<string, OnnxFace<Attributes>>>;
  readonly #frozen: ReadonlyMap<string, HostArray | ExternalConstant>;
  readonly #widenLate: boolean;
  readonly #values = new Map<Tensor, OnnxValue>();
  /** Inputs that are initializers of another element type, which are widened where they are read. */
  readonly #narrow = new Map<Tensor, OnnxValue>();
  #zeroOfRun: OnnxValue | undefined;
  readonly #initializers: TensorProto[] = [];
  readonly #constants = new Map<string, OnnxValue>();
  readonly #domains = new Set<string>();
  /** Where the size of an atom can be read while the model runs: an axis of a value. */
  #carriers = new Map<Atom, Carrier>();
  /** Sizes already computed in the main graph, as int64 vectors of one element. */
  #sizes = new Map<string, { readonly dim: SymbolicDim; readonly value: OnnxValue }>();
  #nodes: NodeProto[] = [];
  #nextName = 0;
  /** Path and operator of the node being written: names of ONNX nodes tell a profiler where the time goes. */
  #label = "";
  #inBody = false;
  /** In a body that is run once or not at all. */
  #inBranch = false;

  constructor(graph: Graph, options: WriteOptions) {
    this.#graph = graph;
    this.#faces = options.faces ?? {};
    this.#frozen = options.frozen ?? new Map();
    this.#widenLate = options.widenLate ?? false;
  }

  write(): Uint8Array<ArrayBuffer> {
    const inputs: ValueInfoProto[] = [];
    for (const [name, tensor] of this.#graph.inputs) {
      if (this.#graph.outputs.has(name))
        throw new ArgumentError(`An input and an output of the graph are both called '${name}': a model needs two names.`);
      const frozen = this.#frozen.get(name);
      if (frozen) this.#frozenValue(name, tensor, frozen);
      else {
        this.#values.set(tensor, name as OnnxValue);
        inputs.push(valueInfo(name, tensor));
      }
      this.#carry(tensor);
    }
    const given = [...this.#graph.inputs].find(([name, tensor]) => !this.#frozen.has(name) && this.#hasElements(tensor));
    if (given && this.#narrow.size > 0) this.#zeroOfRun = this.#zeroOf(given[1], given[0] as OnnxValue);
    const outputs = [...this.#graph.outputs];
    this.#writeNodes(
      nodesOf(outputs.map(([, tensor]) => tensor)),
      outputs.map(([, tensor]) => tensor),
    );
    this.#nameOutputs(outputs);

    const model = create(ModelProtoSchema, {
      irVersion: IR_VERSION,
      producerName: "tsumiki",
      opsetImport: [{ domain: "", version: BigInt(OPSET) }, ...[...this.#domains].map((domain) => ({ domain, version: 1n }))],
      graph: {
        name: "tsumiki",
        node: this.#nodes,
        initializer: this.#initializers,
        input: inputs,
        output: outputs.map(([name, tensor]) => valueInfo(name, tensor)),
      },
    });
    return toBinary(ModelProtoSchema, model);
  }

  /**
   * An initializer. One of another element type is followed by a Cast, which engines compute once, while they load the model, unless it is
   * to stay as it is stored.
   */
  #frozenValue(name: string, tensor: Tensor, frozen: HostArray | ExternalConstant): void {
    const { dtype, shape } = tensor;
    if (!("location" in frozen)) this.#initializers.push(inlineTensor(name, frozen));
    else if (frozen.dtype === undefined || frozen.dtype === dtype)
      this.#initializers.push(externalTensor(name, dtype, shape, frozen));
    else {
      const stored = `${name}.${frozen.dtype}` as OnnxValue;
      this.#initializers.push(externalTensor(stored, frozen.dtype, shape, frozen));
      if (this.#widenLate) this.#narrow.set(tensor, stored);
      else this.#values.set(tensor, this.#builder("Cast", [stored], { to: onnxDType(dtype) }));
      return;
    }
    this.#values.set(tensor, name as OnnxValue);
  }

  /**
   * The value of an initializer that stays narrow, widened for one reader. The shape that is cast depends on another operand of the
   * reader, so that it is cast when that is there, and again for the next reader: engines neither do it once for all nor keep the
   * wide form from the forward pass to the backward pass.
   */
  #widened(tensor: Tensor, reader?: Node): OnnxValue {
    const stored = this.#narrow.get(tensor) as OnnxValue;
    const other = reader?.inputs.find(
      (operand) => this.#values.has(operand) && this.#hasElements(operand) && !operand.node.op.leaf,
    );
    const late = other ? this.#zeroOf(other, this.#value(other)) : this.#zeroOfRun;
    const value = late
      ? this.#builder("Reshape", [stored, this.#builder("Add", [this.#dims(tensor.shape), late])], { allowzero: 1 })
      : stored;
    return this.#builder("Cast", [value], { to: onnxDType(tensor.dtype) });
  }

  #hasElements({ shape }: Tensor): boolean {
    return isStaticShape(shape) ? !shape.includes(0) : shape.length > 0;
  }

  /** A zero, as int64 vector of one element, that no engine computes before it has a value. */
  #zeroOf({ shape }: Tensor, value: OnnxValue): OnnxValue {
    const first = (vector: OnnxValue) => this.#builder("Slice", [vector, this.#int64s([0]), this.#int64s([1])]);
    if (!isStaticShape(shape)) {
      const size = first(this.#builder("Shape", [value]));
      return this.#builder("Sub", [size, size]);
    }
    const number = this.#builder("Cast", [first(this.#builder("Reshape", [value, this.#int64s([-1])]))], {
      to: onnxDType("float32"),
    });
    // False for NaN too.
    return this.#builder("Cast", [this.#builder("Less", [number, number])], { to: onnxDType("int64") });
  }

  #writeNodes(nodes: readonly Node[], results: readonly Tensor[]): void {
    const uses = countUses(nodes, results);
    for (const node of nodes) {
      if (node.outputs.every((output) => this.#values.has(output) || this.#narrow.has(output))) continue;
      if (node.op === constantOp) {
        this.#values.set(node.outputs[0] as Tensor, this.#constant(constantValue(node.outputs[0] as Tensor) as HostArray));
        continue;
      }
      if (node.op.leaf)
        throw new TsumikiError("TRACE", `${node.outputs[0]?.describe()} is used by the program but is not one of its inputs.`);
      this.#label = node.scope ? `${node.scope}/${node.op.name}` : node.op.name;
      const face = this.#faces[node.op.name] ?? node.op.onnx;
      // Rows that are looked up are widened, and not the table.
      const table = node.op.name === "gather" ? this.#narrow.get(node.inputs[0] as Tensor) : undefined;
      const inputs = node.inputs.map((tensor, i) => {
        if (table && i === 0) return table;
        return this.#narrow.has(tensor) ? this.#widened(tensor, node) : this.#value(tensor);
      });
      const context = {
        inputs: node.inputs,
        outputs: node.outputs,
        attributes: node.attributes,
        used: (index: number) => uses.has(node.outputs[index] as Tensor),
      };
      const written = face(this.#builder, inputs, context);
      // What a body finds out, and what a branch may rely on, nobody can check from outside. An engine would clamp a slice there, but
      // cannot reshape what is left.
      const checked = this.#inBranch ? openRequirements(node).length > 0 : this.#inBody && dependsOnData(node);
      for (const [i, value] of (typeof written === "string" ? [written] : written).entries()) {
        const output = node.outputs[i] as Tensor;
        const dims = checked && context.used(i) ? this.#dims(output.shape) : undefined;
        const shaped = dims ? this.#builder("Reshape", [value, dims], { allowzero: 1 }) : value;
        this.#values.set(output, table ? this.#builder("Cast", [shaped], { to: onnxDType(output.dtype) }) : shaped);
        this.#carry(output);
      }
    }
  }

  /**
   * Values that are outputs get the outputs' names. Where a value is several outputs, or an input or a constant, a node is
   * needed to copy it; elsewhere it would only cost time.
   */
  #nameOutputs(outputs: readonly (readonly [string, Tensor])[]): void {
    const produced = new Set(this.#nodes.flatMap((node) => node.output));
    const names = new Map<string, string>();
    for (const [name, tensor] of outputs) {
      const value = this.#value(tensor);
      if (produced.has(value) && !names.has(value)) names.set(value, name);
    }
    renameValues(this.#nodes, names);
    for (const [name, tensor] of outputs) {
      const value = this.#value(tensor);
      if (names.get(value) !== name) this.#append("Identity", [names.get(value) ?? value], [name]);
    }
  }

  readonly #builder: OnnxBuilder = Object.assign(
    (type: string, inputs: readonly (OnnxValue | undefined)[], attributes?: OnnxAttributes, options?: OnnxNodeOptions) =>
      this.#node(type, inputs, 1, attributes, options)[0] as OnnxValue,
    {
      many: (
        type: string,
        inputs: readonly (OnnxValue | undefined)[],
        outputs: number,
        attributes?: OnnxAttributes,
        options?: OnnxNodeOptions,
      ) => this.#node(type, inputs, outputs, attributes, options),
      constant: (dtype: DType, shape: readonly number[], values: ArrayLike<number>) =>
        this.#constant({ dtype, shape, data: encode(dtype, values) } as HostArray),
      scalar: (dtype: DType, value: number) => this.#constant({ dtype, shape: [], data: encode(dtype, [value]) } as HostArray),
      int64s: (values: readonly number[]) => this.#int64s(values),
      dims: (shape: Shape) => this.#dims(shape),
    },
  );

  #value(tensor: Tensor): OnnxValue {
    if (this.#narrow.has(tensor)) return this.#widened(tensor);
    const value = this.#values.get(tensor);
    if (value === undefined) throw new TsumikiError("TRACE", `${tensor.describe()} is used before it is computed.`);
    return value;
  }

  #node(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    outputCount: number,
    attributes: OnnxAttributes = {},
    { domain = "" }: OnnxNodeOptions = {},
  ): readonly OnnxValue[] {
    const outputs = Array.from({ length: outputCount }, () => this.#freshName("v"));
    if (domain) this.#domains.add(domain);
    this.#append(type, inputs, outputs, attributes, domain);
    return outputs as unknown as readonly OnnxValue[];
  }

  #append(
    type: string,
    inputs: readonly (string | undefined)[],
    outputs: readonly string[],
    attributes: OnnxAttributes = {},
    domain = "",
  ): void {
    this.#nodes.push(
      create(NodeProtoSchema, {
        opType: type,
        domain,
        name: `${this.#label}/${this.#nextName++}`,
        input: inputs.map((input) => input ?? ""),
        output: [...outputs],
        attribute: Object.entries(attributes).map(([name, value]) => this.#attribute(name, value)),
      }),
    );
  }

  /** A name for a value that nobody else has; inputs and outputs may be called anything. */
  #freshName(prefix: string): string {
    const name = `${prefix}${this.#nextName++}`;
    return this.#graph.inputs.has(name) || this.#graph.outputs.has(name) ? this.#freshName(prefix) : name;
  }

  #attribute(name: string, value: OnnxAttribute): AttributeProto {
    if (typeof value === "number") return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) });
    if (typeof value === "string")
      return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: new TextEncoder().encode(value) });
    if ("float" in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float });
    if ("floats" in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOATS, floats: [...value.floats] });
    if ("body" in value) return create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g: this.#subgraph(value.body) });
    return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) });
  }

  /** A body shares the outer values by name; what it computes stays inside. */
  #subgraph({ inputs, outputs }: OnnxSubgraph): GraphProto {
    const outerNodes = this.#nodes;
    const outerLabel = this.#label;
    const [wasInBody, wasInBranch] = [this.#inBody, this.#inBranch];
    this.#nodes = [];
    this.#inBody = true;
    this.#inBranch = inputs.length === 0;
    // Sizes that the body finds out are its own, and those that its inputs have are read off them.
    const [outerCarriers, outerSizes] = [this.#carriers, this.#sizes];
    const own = new Map(inputs.flatMap(carriersIn));
    this.#carriers = new Map([...outerCarriers, ...own]);
    this.#sizes = new Map([...outerSizes].filter(([, { dim }]) => !atomsOf(dim).some((atom) => own.has(atom))));
    const outerValues = new Set([...this.#values.keys(), ...this.#narrow.keys()]);
    const names = inputs.map((tensor) => {
      const name = this.#freshName("v");
      this.#values.set(tensor, name as OnnxValue);
      return valueInfo(name, tensor);
    });
    this.#writeNodes(
      nodesOf(outputs, (node) => node.outputs.every((output) => outerValues.has(output))),
      outputs,
    );
    const results = outputs.map((tensor) => {
      const name = this.#freshName("v");
      this.#append("Identity", [this.#value(tensor)], [name]);
      return valueInfo(name, tensor);
    });
    const graph = create(GraphProtoSchema, { name: `body${this.#nextName++}`, node: this.#nodes, input: names, output: results });
    for (const tensor of this.#values.keys()) if (!outerValues.has(tensor)) this.#values.delete(tensor);
    this.#nodes = outerNodes;
    this.#label = outerLabel;
    this.#carriers = outerCarriers;
    this.#sizes = outerSizes;
    this.#inBody = wasInBody;
    this.#inBranch = wasInBranch;
    return graph;
  }

  #constant(array: HostArray): OnnxValue {
    const bytes = bytesOf(array.data);
    // Small constants are shared; comparing large ones costs more than it saves.
    const key = bytes.length <= 256 ? `${array.dtype}[${array.shape.join()}]${bytes.join()}` : undefined;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.#freshName("c") as OnnxValue;
    this.#initializers.push(inlineTensor(name, array));
    if (key !== undefined) this.#constants.set(key, name);
    return name;
  }

  #int64s(values: readonly number[]): OnnxValue {
    return this.#constant({ dtype: "int64", shape: [values.length], data: encode("int64", values) });
  }

  #dims(shape: Shape): OnnxValue {
    if (isStaticShape(shape)) return this.#int64s(shape);
    const parts: OnnxValue[] = [];
    let known: number[] = [];
    const flush = () => {
      if (known.length) parts.push(this.#int64s(known));
      known = [];
    };
    for (const dim of shape) {
      if (isStatic(dim)) known.push(dim);
      else {
        flush();
        parts.push(this.#size(dim));
      }
    }
    flush();
    return parts.length === 1 ? (parts[0] as OnnxValue) : this.#builder("Concat", parts, { axis: 0 });
  }

  /** A symbolic size as an int64 vector of one element. */
  #size(dim: SymbolicDim): OnnxValue {
    // Values made inside a loop body cannot be seen outside, so only sizes of the main graph are kept.
    const known = this.#sizes.get(dim.key);
    if (known !== undefined) return known.value;
    const terms = dim.terms.map(({ coefficient, atoms }) => {
      if (atoms.length === 0) return this.#int64s([coefficient]);
      const product = atoms.map((atom) => this.#atomSize(atom)).reduce((a, b) => this.#builder("Mul", [a, b]));
      return coefficient === 1 ? product : this.#builder("Mul", [product, this.#int64s([coefficient])]);
    });
    const size = terms.reduce((a, b) => this.#builder("Add", [a, b]));
    if (!this.#inBody) this.#sizes.set(dim.key, { dim, value: size });
    return size;
  }

  #atomSize(atom: Atom): OnnxValue {
    const carrier = this.#carriers.get(atom);
    if (carrier) return this.#builder("Shape", [this.#value(carrier.tensor)], { start: carrier.axis, end: carrier.axis + 1 });
    if (!atom.quotient)
      throw new TsumikiError("TRACE", `The dimension \`${atom.name}\` is not the size of any input of the program.`);
    const { numerator, denominator } = atom.quotient;
    // ONNX divides towards zero; sizes are never negative, but numerators such as `seq - 3` may be, so the floor is made explicit.
    const quotient = this.#builder("Div", [
      this.#builder("Sub", [this.#size(numerator), this.#floorModulo(this.#size(numerator), denominator)]),
      this.#int64s([denominator]),
    ]);
    return quotient;
  }

  #floorModulo(value: OnnxValue, divisor: number): OnnxValue {
    return this.#builder("Mod", [value, this.#int64s([divisor])]);
  }

  #carry(tensor: Tensor): void {
    for (const [atom, carrier] of carriersIn(tensor)) if (!this.#carriers.has(atom)) this.#carriers.set(atom, carrier);
  }
}

interface Carrier {
  readonly tensor: Tensor;
  readonly axis: number;
}

/** The sizes that can be read off a tensor. */
const carriersIn = (tensor: Tensor): readonly (readonly [Atom, Carrier])[] =>
  tensor.shape.flatMap((dim, axis) => {
    const atom = asAtom(dim);
    return atom && !atom.quotient ? [[atom, { tensor, axis }] as const] : [];
  });
