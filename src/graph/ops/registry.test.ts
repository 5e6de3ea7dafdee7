/** Generated from the registry: whatever operator is defined, its faces are compared with one another. */

import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import "../barrier.js";
import "../cond.js";
import "../custom-gradient.js";
import "../scan.js";
import { isStaticShape } from "../dim.js";
import { constant } from "../leaves.js";
import { applyOp, type OpDefinition, operators, type ReferenceArray } from "../op.js";
import type { Tensor } from "../tensor.js";
import { casesOf, type OpCase } from "../testing/cases.js";
import {
  floatDTypeProblems,
  secondOrderProblems,
  shapeProblems,
  symbolicProblems,
  vjpProblems,
} from "../testing/check-operator.js";
import { describeLaws } from "../testing/describe-laws.js";
import { mul } from "./index.js";

const registered = operators();

for (const definition of registered) describeLaws(definition);

describe("the registry", () => {
  it("has every operator once ops/index.ts is imported", async () => {
    const folder = fileURLToPath(new URL(".", import.meta.url));
    for (const file of readdirSync(folder)) if (/(?<!\.test)\.ts$/.test(file)) await import(/* @vite-ignore */ `./${file}`);
    const missed = operators().filter((definition) => !registered.includes(definition));
    expect(missed.map(({ name }) => name)).toEqual([]);
  });
});

describe("the checks", () => {
  const product = registered.find(({ name }) => name === "mul") as OpDefinition;
  const firstCase = (definition: OpDefinition): OpCase => casesOf(definition)[0] as OpCase;

  it("find nothing wrong with a product", () => {
    expect(vjpProblems(firstCase(product))).toEqual([]);
  });

  it("notice a wrong vjp", () => {
    // The gradient by each factor is that factor, not the other one.
    const wrong: OpDefinition = {
      ...product,
      vjp: ({ inputs: [a, b], gradients: [dy] }) => [a, b].map((x) => x && dy && mul(dy, x)),
    };
    expect(vjpProblems(firstCase(wrong)).length).toBeGreaterThan(0);
  });

  it("notice a vjp that is right but has a wrong gradient", () => {
    const frozen: OpDefinition = { ...product, vjp: "nonDifferentiable" };
    const wrong: OpDefinition = {
      ...product,
      vjp: ({ inputs: [a, b], gradients: [dy] }) => [b, a].map((x) => x && dy && (applyOp(frozen, [dy, x], {})[0] as Tensor)),
    };
    expect(vjpProblems(firstCase(wrong))).toEqual([]);
    expect(secondOrderProblems(firstCase(wrong)).length).toBeGreaterThan(0);
  });

  it("notice a forgotten gradient", () => {
    const wrong: OpDefinition = { ...product, vjp: () => [undefined, undefined] };
    expect(vjpProblems(firstCase(wrong)).length).toBeGreaterThan(0);
  });

  it("notice a result of another shape than declared", () => {
    const wrong: OpDefinition = {
      ...product,
      outputTypes: ([a]) => [{ dtype: "float32", shape: [...(a?.shape ?? []), 1] }],
      reference: ([a]) => [a as ReferenceArray],
    };
    expect(() => shapeProblems(firstCase(wrong))).toThrow(/mul: output 0 is declared as \[2, 3, 1\], but has the shape \[2, 3\]/);
  });

  it("notice gradients that mix dtypes", () => {
    const wrong: OpDefinition = {
      ...product,
      vjp: ({ inputs: [a, b], gradients: [dy] }) => [b, a].map((x) => x && dy && mul(mul(dy, x), constant(1))),
    };
    expect(() => floatDTypeProblems(firstCase(wrong), "float16")).toThrow(/float16 and float32/);
  });

  it("notice a result that depends on how the sizes were given", () => {
    const wrong: OpDefinition = {
      ...product,
      vjp: "nonDifferentiable",
      outputTypes: ([a]) => {
        const { shape } = a as Tensor;
        return [{ shape, dtype: isStaticShape(shape) ? "float32" : "float64" }];
      },
    };
    expect(symbolicProblems([firstCase(wrong)])[0]).toContain("with symbolic sizes: the dtype is float64");
  });
});
