/** Activation functions of floats, element by element: shapes and dtypes stay. */

import type { Tensor } from "../tensor.js";
import { add, erf, exp, minimum, mul, neg, sigmoid, square, sub } from "./arithmetic.js";
import { greater } from "./compare.js";
import { defineUnary } from "./elementwise.js";
import { errorFunction } from "./error-function.js";
import { where } from "./select.js";

/** max(x, 0), with gradient 0 at 0. */
export const relu = defineUnary({
  name: "relu",
  gentle: true,
  gradient: (x, _y, dy) => where(greater(x, 0), dy, 0),
  onnx: "Relu",
  value: (x) => Math.max(x, 0),
});

/** x · sigmoid(x), also called swish (Elfwing, Uchibe & Doya 2017). */
export const silu = defineUnary({
  name: "silu",
  gentle: true,
  // y′ = σ + x·σ·(1 − σ) = σ + y·(1 − σ)
  gradient(x, y, dy) {
    const gate = sigmoid(x);
    return mul(dy, add(gate, mul(y, sub(1, gate))));
  },
  onnx: (node, [x]) => node("Mul", [x, node("Sigmoid", [x])]),
  value: (x) => x / (1 + Math.exp(-x)),
});

/** x · Φ(x), where Φ is the distribution function of the standard normal (Hendrycks & Gimpel 2016). */
export const gelu = defineUnary({
  name: "gelu",
  gentle: true,
  // y′ = Φ(x) + x·φ(x) = ½ · (1 + erf(u) + 2/√π · u·exp(−u²)) with u = x/√2
  gradient(x, _y, dy) {
    const u = mul(x, Math.SQRT1_2);
    const bell = mul(mul(u, 2 / Math.sqrt(Math.PI)), exp(neg(square(u))));
    return mul(dy, mul(add(add(erf(u), 1), bell), 0.5));
  },
  onnx: (node, [x]) => node("Gelu", [x], { approximate: "none" }),
  value: (x) => 0.5 * x * (1 + errorFunction(x * Math.SQRT1_2)),
});

// ½·(1 + tanh(z/2)) = sigmoid(z): the approximation is x · sigmoid(z) with z = x · (slope + bend · x²).
const slope = 2 * Math.sqrt(2 / Math.PI);
const bend = slope * 0.044715;

/** ½x · (1 + tanh(√(2/π) · (x + 0.044715x³))), the approximation of GELU that GPT-2 uses (Hendrycks & Gimpel 2016). */
export const geluTanh = defineUnary({
  name: "geluTanh",
  gentle: true,
  // y′ = σ + y·(1 − σ)·z′ with z′ = slope + 3·bend·x²
  gradient(x, y, dy) {
    const squared = square(x);
    const gate = sigmoid(mul(x, add(mul(squared, bend), slope)));
    const rise = add(mul(squared, 3 * bend), slope);
    return mul(dy, add(gate, mul(mul(y, rise), sub(1, gate))));
  },
  onnx: (node, [x]) => node("Gelu", [x], { approximate: "tanh" }),
  value: (x) => x / (1 + Math.exp(-x * (slope + bend * x * x))),
});

/** x · sigmoid(1.702x), the approximation of GELU that CLIP uses (Hendrycks & Gimpel 2016). */
export const quickGelu = (x: Tensor): Tensor => mul(x, sigmoid(mul(x, 1.702)));

/** x where it is positive, `slope`·x elsewhere (Maas, Hannun & Ng 2013). */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => where(greater(x, 0), x, mul(x, slope));

/** x where it is positive, `alpha`·(eˣ − 1) elsewhere (Clevert, Unterthiner & Hochreiter 2015). */
export const elu = (x: Tensor, alpha = 1): Tensor =>
  // The minimum keeps the exponential of a large x, which would be infinite, out of the gradient.
  where(greater(x, 0), x, mul(sub(exp(minimum(x, 0)), 1), alpha));
