/**
 * Mixed precision (Micikevicius et al. 2018, "Mixed precision training"; Kalamkar et al. 2019, "A study of BFLOAT16 for deep
 * learning training"): products of matrices take and give bfloat16, and so does what lies between two of them element by
 * element; everything else stays as it is. See docs/precision.md.
 *
 * Each float32 value gets up to two forms, wide (float32) and narrow (bfloat16), and whoever reads it takes the one that it
 * needs, so a value is cast once however many products read it. Operators that only move elements give the same in either
 * form: casts to bfloat16 go before them and casts back behind them, and where the two meet nothing is cast at all. What the
 * backward pass keeps of an operand of products is then its narrow form.
 */

import { type Graph, isUnchanged, nodesOf, type Pass } from "../../graph/graph.js";
import { mul } from "../../graph/ops/arithmetic.js";
import { cast } from "../../graph/ops/cast.js";
import { concat } from "../../graph/ops/shape-slice.js";
import { makeNode, type Node, type Tensor } from "../../graph/tensor.js";
import { isProduct, movedOperands, moves, type PrecisionPlan, passesThrough, planPrecision } from "./precision-plan.js";

/** What products of matrices are computed in. */
export type Precision = "fp32" | "bf16";

export const bfloat16Products: Pass = (graph: Graph): Graph => {
  const nodes = nodesOf(graph.outputs.values());
  const forms = new Forms(planPrecision(nodes, graph.outputs.values()));
  for (const node of nodes) forms.rebuild(node);
  return {
    inputs: graph.inputs,
    outputs: new Map([...graph.outputs].map(([name, tensor]) => [name, forms.wide(tensor)])),
  };
};

/** The forms of each tensor of the graph that is being rewritten. */
class Forms {
  readonly #plan: PrecisionPlan;
  readonly #wide = new Map<Tensor, Tensor>();
  readonly #narrow = new Map<Tensor, Tensor>();

  constructor(plan: PrecisionPlan) {
    this.#plan = plan;
  }

  /** The tensor in its own dtype. */
  wide(tensor: Tensor): Tensor {
    return known(this.#wide, tensor, () => cast(this.#narrow.get(tensor) as Tensor, "float32"));
  }

  /** The tensor in bfloat16. */
  narrow(tensor: Tensor): Tensor {
    return known(this.#narrow, tensor, () =>
      this.#castsBefore(tensor.node)
        ? (this.#narrowCopy(tensor.node)[tensor.index] as Tensor)
        : cast(this.wide(tensor), "bfloat16"),
    );
  }

  #sizes({ sizes }: Node): readonly Tensor[] {
    return sizes.map((tensor) => this.wide(tensor));
  }

  /** Makes the first form of a node's outputs. Those of its operands exist. */
  rebuild(node: Node): void {
    const { op, inputs, outputs, attributes, scope } = node;
    if (op.leaf) this.#wide.set(outputs[0] as Tensor, outputs[0] as Tensor);
    else if (passesThrough(node)) for (const [i, output] of outputs.entries()) this.#alias(output, inputs[i] as Tensor);
    else if (isProduct(node)) this.#multiply(node);
    else if (outputs.some((output) => this.#plan.bornNarrow.has(output))) this.#narrowCopy(node);
    else {
      const wide = op.name === "concat" ? this.#joined(node) : inputs.map((input) => this.wide(input));
      const sizes = this.#sizes(node);
      const copies = isUnchanged(node, wide, sizes) ? outputs : makeNode(op, wide, attributes, outputs, scope, sizes).outputs;
      for (const [i, output] of outputs.entries()) this.#wide.set(output, copies[i] as Tensor);
    }
  }

  #multiply({ op, inputs, outputs, attributes, scope }: Node): void {
    const [output] = outputs as readonly [Tensor];
    const { scale = 1, ...transposed } = attributes as { readonly scale?: number };
    const operands = inputs.map((input) => this.narrow(input));
    const multiplied = (kept: Node["attributes"]) =>
      makeNode(op, operands, kept, [{ shape: output.shape, dtype: "bfloat16" }], scope).outputs[0] as Tensor;
    if (this.#plan.bornNarrow.has(output)) this.#narrow.set(output, multiplied(attributes));
    else this.#wide.set(output, mul(cast(multiplied(transposed), "float32"), scale));
  }

  /**
   * The operands of a concatenation in float32. Neighbours that are narrow so far are laid end to end before they are cast: one
   * cast instead of one for each gradient of a small model, whose update takes them as one vector.
   */
  #joined({ inputs, attributes }: Node): readonly Tensor[] {
    const runs: Tensor[][] = [];
    const isNarrow = (tensor: Tensor) => this.#plan.bornNarrow.has(tensor) && !this.#wide.has(tensor);
    for (const [i, input] of inputs.entries())
      if (i > 0 && isNarrow(input) && isNarrow(inputs[i - 1] as Tensor)) runs.at(-1)?.push(input);
      else runs.push([input]);
    return runs.map((run) =>
      run.length === 1
        ? this.wide(run[0] as Tensor)
        : cast(
            concat(
              run.map((input) => this.narrow(input)),
              attributes.axis as number,
            ),
            "float32",
          ),
    );
  }

  #alias(output: Tensor, input: Tensor): void {
    const [wide, narrow] = [this.#wide.get(input), this.#narrow.get(input)];
    if (wide) this.#wide.set(output, wide);
    if (narrow) this.#narrow.set(output, narrow);
  }

  /** Whether a node is better told in bfloat16 than its result cast. A part of which nothing else is needed is cast by itself. */
  #castsBefore(node: Node): boolean {
    if (!moves(node)) return false;
    const picks = node.op.traits.moves === "part";
    return !picks || (this.#plan.narrowReaders.get(node.inputs[0] as Tensor) ?? 0) > 1;
  }

  #narrowCopy(node: Node): readonly Tensor[] {
    const operands = movedOperands(node);
    const inputs = node.inputs.map((input) => (operands.includes(input) ? this.narrow(input) : this.wide(input)));
    const types = node.outputs.map(({ shape }) => ({ shape, dtype: "bfloat16" as const }));
    const { outputs } = makeNode(node.op, inputs, node.attributes, types, node.scope, this.#sizes(node));
    for (const [i, output] of node.outputs.entries()) this.#narrow.set(output, outputs[i] as Tensor);
    return outputs;
  }
}

function known(forms: Map<Tensor, Tensor>, tensor: Tensor, make: () => Tensor): Tensor {
  const form = forms.get(tensor) ?? make();
  forms.set(tensor, form);
  return form;
}
