/** From what a trace left behind to the graph of a program: results, updates and fetched values as its outputs. */

import { ArgumentError, TsumikiError } from "../errors.js";
import { type Graph, nodesOf } from "../graph/graph.js";
import { type NoiseAttributes, noiseOp } from "../graph/leaves.js";
import { Tensor } from "../graph/tensor.js";
import { fetchPattern, type Trace } from "../graph/trace.js";
import { Parameter, Variable } from "../graph/variable.js";

/** A graph whose leaves have been told apart. Keys are the names of its inputs and outputs. */
export interface ProgramGraph extends Graph {
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly variables: ReadonlyMap<string, Variable>;
  readonly noise: ReadonlyMap<string, { readonly tensor: Tensor; readonly attributes: NoiseAttributes }>;
  /** Output name → the variable that takes its value. */
  readonly updates: ReadonlyMap<string, Variable>;
}

export function buildGraph(
  feeds: ReadonlyMap<string, Tensor>,
  results: Readonly<Record<string, Tensor>>,
  trace: Trace,
  fetch: readonly string[],
): ProgramGraph {
  const outputs = new Map<string, Tensor>();
  if (results instanceof Tensor || typeof results !== "object" || results === null)
    throw new TsumikiError(
      "TRACE",
      `A compiled function returns tensors by name, such as { loss }, but ${results instanceof Tensor ? "a tensor" : String(results)} was returned.`,
    );
  for (const [name, tensor] of Object.entries(results)) {
    if (name === "inside")
      throw new ArgumentError("A result cannot be called 'inside': that is where fetched values are. Give it another name.");
    if (!(tensor instanceof Tensor))
      throw new TsumikiError(
        "TRACE",
        `A compiled function returns tensors by name, but '${name}' is ${tensor === null ? "null" : typeof tensor}.`,
      );
    outputs.set(`result:${name}`, tensor);
  }
  for (const pattern of fetch) {
    const matching = [...trace.named].filter(([name]) => fetchPattern(pattern).test(name));
    if (matching.length === 0)
      throw new ArgumentError(
        `Nothing inside the program is called '${pattern}'. Names that can be fetched: ${[...trace.named.keys()].join(", ") || "none"}.`,
      );
    for (const [name, tensor] of matching) outputs.set(`inside:${name}`, tensor);
  }
  const updates = new Map<string, Variable>();
  for (const [variable, value] of trace.updates) {
    const name = `update:${updates.size}:${variable.path ?? ""}`;
    updates.set(name, variable);
    outputs.set(name, value);
  }
  const graph = withInputs(feeds, outputs, updates);
  requireReachable(graph, trace);
  return graph;
}

/** A parameter that a module uses, but that no walk finds, would be neither trained nor saved. */
function requireReachable(graph: ProgramGraph, { rootCalls }: Trace): void {
  const hidden = new Set([...graph.variables.values()].filter((leaf) => leaf instanceof Parameter && !leaf.belongsToModule));
  if (hidden.size === 0) return;
  for (const { id, inputs, scope } of nodesOf(graph.outputs.values())) {
    const found = inputs.find((tensor) => hidden.has(tensor as Variable));
    const call = found && rootCalls.find(({ first, end }) => id >= first && id < end);
    if (!call) continue;
    throw new TsumikiError(
      "TRACE",
      `${call.className}${scope && `, in ${scope},`} uses a parameter (${found.describe()}) that cannot be found by walking its properties: it would be neither ` +
        "trained nor saved. Keep it, and modules that hold parameters, in properties that are not #private, in lists, Maps or plain objects.",
    );
  }
}

/** Finds the leaves behind the outputs and names them. */
export function withInputs(
  feeds: ReadonlyMap<string, Tensor>,
  outputs: ReadonlyMap<string, Tensor>,
  updates: ReadonlyMap<string, Variable>,
): ProgramGraph {
  const variables = new Map<string, Variable>();
  const noise = new Map<string, { tensor: Tensor; attributes: NoiseAttributes }>();
  // An update whose value does not depend on the old one still needs the variable's buffers.
  const leaves = [...nodesOf(outputs.values())].filter((node) => node.op.leaf).map((node) => node.outputs[0] as Tensor);
  for (const leaf of leaves) {
    if (leaf instanceof Variable) variables.set(`variable:${variables.size}:${leaf.path ?? ""}`, leaf);
    else if (leaf.node.op === noiseOp) {
      const attributes = leaf.node.attributes as unknown as NoiseAttributes;
      noise.set(`noise:${attributes.name}`, { tensor: leaf, attributes });
    }
  }
  const named = new Map([...feeds].map(([name, tensor]) => [`feed:${name}`, tensor]));
  const inputs = new Map<string, Tensor>([
    ...named,
    ...variables,
    ...[...noise].map(([name, { tensor }]): [string, Tensor] => [name, tensor]),
  ]);
  return { inputs, outputs, feeds: named, variables, noise, updates };
}
