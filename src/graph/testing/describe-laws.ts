/** The laws that the faces of one operator keep among each other, as generated tests. */

import { describe, expect, it } from "vitest";
import type { OpDefinition } from "../op.js";
import { casesOf, type OpCase } from "./cases.js";
import { floatDTypeProblems, secondOrderProblems, shapeProblems, symbolicProblems, vjpProblems } from "./check-operator.js";
import { groupByExample } from "./compare.js";

/** Prefixed with the case, so that a failure says where. */
const inCases = (cases: readonly OpCase[], problems: (testCase: OpCase) => readonly string[]): readonly string[] =>
  cases.flatMap((testCase) => problems(testCase).map((problem) => `${testCase.label}: ${problem}`));

const ofKind = (definition: OpDefinition, ...kinds: readonly OpCase["kind"][]): readonly OpCase[] =>
  casesOf(definition).filter(({ kind }) => kinds.includes(kind));

export function describeLaws(definition: OpDefinition): void {
  describe(definition.name, () => {
    it("has examples with operands that can be drawn", () => {
      expect(ofKind(definition, "typical").length).toBeGreaterThan(0);
    });

    it("computes what its shape says, also for sizes 1 and 0", () => {
      expect(inCases(casesOf(definition), shapeProblems)).toEqual([]);
    });

    it("has a vjp that agrees with finite differences", () => {
      expect(inCases(casesOf(definition), vjpProblems)).toEqual([]);
    });

    it("has a vjp that can be differentiated", () => {
      expect(inCases(ofKind(definition, "typical", "ones"), secondOrderProblems)).toEqual([]);
    });

    it("computes the same with symbolic sizes", () => {
      expect([...groupByExample(casesOf(definition)).values()].flatMap(symbolicProblems)).toEqual([]);
    });

    it.each(["float64", "float16", "bfloat16"] as const)(
      "has results and gradients of the operands' dtype, with the right values: %s",
      (float) => {
        expect(inCases(ofKind(definition, "typical"), (testCase) => floatDTypeProblems(testCase, float))).toEqual([]);
      },
    );
  });
}
