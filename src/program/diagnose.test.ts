import { describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../engine/onnxruntime/node.js";
import { referenceEngine } from "../engine/reference/engine.js";
import { add, div, exp, hostArray, log, mul, Parameter, sqrt, sub, sum, type Tensor } from "../graph/index.js";
import { dropout } from "../nn/dropout.js";
import { Linear, Module } from "../nn/index.js";
import { compile } from "./compile.js";
import { float32 } from "./signature.js";

const engines = [await onnxRuntimeNode({ threads: 1 }), referenceEngine()];

class Inner extends Module {
  readonly linear = new Linear(2, 2);
  forward(x: Tensor): Tensor {
    return log(this.linear.forward(x));
  }
}

class Outer extends Module {
  readonly layers = [new Inner(), new Inner()];
  forward(x: Tensor): Tensor {
    return this.layers.reduce((h, layer) => exp(layer.forward(h)), x);
  }
}

describe.each(engines.map((engine) => [engine.name, engine] as const))(
  "the first value that is not finite, on %s",
  (_, engine) => {
    it("is the operator that made it, with its module, not those that it spread to", async () => {
      const model = new Outer();
      const weights = [...model.parameters().values()];
      const set = (first: number, second: number) => {
        for (const [i, weight] of weights.entries()) {
          const data = new Float32Array(weight.shape.reduce((a, b) => a * b, 1));
          if (weight.rank === 2) data.set([i < 2 ? first : second, 0, 0, i < 2 ? first : second]);
          weight.write({ dtype: "float32", shape: weight.shape, data });
        }
      };
      await using program = compile(({ x }) => ({ y: sum(model.forward(x)) }), { x: float32("n", 2) }, { engine });
      const first = () => program.firstNotFinite({ x: [[1, 2]] });
      set(1, 1);
      expect(await first()).toBeUndefined();
      set(1, -1);
      expect(await first()).toEqual({ value: "log float32[n, 2]", module: "layers.1" });
      set(-1, 1);
      expect(await first()).toEqual({ value: "log float32[n, 2]", module: "layers.0" });
      expect((await program({ x: [[1, 2]] })).y.item()).toBeNaN();
      set(1, 3e38);
      expect(await first()).toMatchObject({ value: expect.stringMatching(/^matmul/), module: "layers.1.linear" });
    });

    it("may be a feed or a parameter, by name", async () => {
      const weight = new Parameter([2], { name: "scale" });
      await using program = compile(({ x, y }) => ({ z: mul(add(x, weight), y) }), { x: float32(2), y: float32(2) }, { engine });
      const first = () => program.firstNotFinite({ x: [1, Number.NaN], y: [1, Number.NEGATIVE_INFINITY] });
      expect(await first()).toEqual({ value: "input 'x' float32[2]", module: "" });
      expect(await program.firstNotFinite({ x: [1, 1], y: [1, Number.NEGATIVE_INFINITY] })).toEqual({
        value: "input 'y' float32[2]",
        module: "",
      });
      weight.write(hostArray("float32", [2], Float32Array.of(Number.POSITIVE_INFINITY, 0)));
      expect(await program.firstNotFinite({ x: [1, 1], y: [1, 1] })).toEqual({ value: "scale float32[2]", module: "" });
    });

    it("may lie in an update alone", async () => {
      const weight = new Parameter([1], { name: "w", initializer: () => Float32Array.of(-1) });
      await using program = compile(
        ({ x }) => {
          weight.assign(sqrt(mul(weight, x)));
          return { fine: sum(x) };
        },
        { x: float32(1) },
        { engine },
      );
      expect(await program.firstNotFinite({ x: [-1] })).toBeUndefined();
      expect(await program.firstNotFinite({ x: [1] })).toMatchObject({ value: expect.stringMatching(/^sqrt/) });
      expect((await weight.read()).data).toEqual(Float32Array.of(-1));
    });

    it("depends on the noise of the step that is asked for", async () => {
      await using program = compile(
        ({ x }) => ({ y: div(x, sub(dropout(x, 0.5), mul(x, 2))) }), // x/(2x − 2x) where an element was kept
        { x: float32(1) },
        { engine, training: true, seed: 5 },
      );
      const seen = new Set<boolean>();
      for (let step = 0; step < 12; step++) {
        const finite = Number.isFinite((await program({ x: [1] }, { step })).y.item());
        const found = await program.firstNotFinite({ x: [1] }, { step });
        expect(found === undefined).toBe(finite);
        seen.add(finite);
      }
      expect([...seen].sort()).toEqual([false, true]);
    });
  },
);
