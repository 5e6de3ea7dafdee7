/** Gradients that are not the derivative of what was computed: given by the user, or none at all. */

import { ArgumentError } from "../errors.js";
import { defineOp, type VjpContext } from "./op.js";
import type { Tensor } from "./tensor.js";

interface PassThroughAttributes {
  /** How many of the operands are passed on; the others are there for their gradients. */
  readonly count: number;
  readonly vjp: (context: Omit<VjpContext<unknown>, "attributes">) => readonly (Tensor | undefined)[];
}

/** The first operands as they are, with a gradient of its own for every operand. Nothing is left of it in a model. */
export const passThrough = defineOp<PassThroughAttributes>({
  name: "passThrough",
  traits: { alias: true },
  accepts: "mixed",
  outputs: ({ count }) => count,
  dtype: (inputs, { count }) => inputs.slice(0, count).map(({ dtype }) => dtype),
  shape: (inputs, { count }) => inputs.slice(0, count).map(({ shape }) => shape),
  vjp: ({ attributes, ...context }) => attributes.vjp(context),
  onnx: (_, inputs, { attributes: { count } }) => inputs.slice(0, count),
  reference: (inputs, { count }) => inputs.slice(0, count),
  examples: (make) => [
    {
      inputs: [make.float(["a", "b"]), make.float(["b"]), make.bool(["a"])],
      attributes: { count: 2, vjp: ({ gradients }) => [...gradients, undefined] },
    },
    { inputs: [make.float([]), make.float(["a"])], attributes: { count: 1, vjp: ({ gradients: [dy] }) => [dy, undefined] } },
  ],
});

type Tensors<T extends readonly Tensor[]> = { readonly [K in keyof T]: Tensor };

export interface CustomGradientContext<I extends readonly Tensor[], O extends readonly Tensor[]> {
  readonly inputs: Tensors<I>;
  readonly outputs: Tensors<O>;
  /** One for each output, of its shape; zeros where nothing flows back. */
  readonly gradients: Tensors<O>;
}

/**
 * A function with a gradient of its own: the result computes `forward`, and its gradients are what `backward` says, one
 * for each input (`undefined`: none). Tensors that `forward` reads from outside get no gradient: make them inputs.
 * Gradients of gradients differentiate `backward`.
 */
export function customGradient<I extends readonly Tensor[], const O extends readonly Tensor[]>(
  forward: (...inputs: I) => O,
  backward: (context: CustomGradientContext<I, O>) => readonly (Tensor | undefined)[],
): (...inputs: I) => Tensors<O> {
  return (...inputs) => {
    const results = forward(...inputs);
    const count = results.length;
    const vjp: PassThroughAttributes["vjp"] = (context) => {
      const gradients = backward({
        inputs: context.inputs.slice(count) as unknown as Tensors<I>,
        outputs: context.outputs as unknown as Tensors<O>,
        gradients: context.gradients as unknown as Tensors<O>,
      });
      if (gradients.length !== inputs.length)
        throw new ArgumentError(
          `The backward function of a custom gradient gave ${gradients.length} gradients for ${inputs.length} inputs.`,
        );
      return [...results.map(() => undefined), ...gradients];
    };
    return passThrough(...results, ...inputs, { count, vjp }) as unknown as Tensors<O>;
  };
}

const stopGradientOp = defineOp({
  name: "stopGradient",
  traits: { alias: true },
  arity: 1,
  shape: ([x]) => x.shape,
  vjp: "nonDifferentiable",
  onnx: (_, [x]) => x,
  reference: ([x]) => x,
  examples: (make) => [{ inputs: [make.float(["a", "b"])] }, { inputs: [make.bool([])] }],
});

/** x, through which no gradient flows. */
export const stopGradient = (x: Tensor): Tensor => stopGradientOp(x);
