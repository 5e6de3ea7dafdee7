/** What the documents show: the operator of the design document is defined as it is printed and tried; links lead somewhere. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { onnxRuntimeNode } from "../src/engine/onnxruntime/node.js";
import { type OpDefinition, operators } from "../src/graph/op.js";
import * as operatorFunctions from "../src/graph/ops/index.js";
import { describeLaws } from "../src/graph/testing/describe-laws.js";
import { describeOperators } from "../src/graph/testing/describe-operators.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const documents = [
  ...["README.md", "CHANGELOG.md"].filter((name) => existsSync(join(root, name))),
  ...["docs", "bench"].flatMap((folder) =>
    readdirSync(join(root, folder)).flatMap((name) => (name.endsWith(".md") ? [`${folder}/${name}`] : [])),
  ),
];

describe("the operator in docs/design.md", async () => {
  const printed = /^```ts operator\n(.*?)^```$/ms.exec(readFileSync(join(root, "docs/design.md"), "utf8"))?.[1] ?? "";
  // Inside the repository, from where the package's own name leads to `src/`.
  mkdirSync(join(root, ".tsumiki"), { recursive: true });
  const folder = mkdtempSync(join(root, ".tsumiki", "operator-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "swish.ts"), printed);
  await import(/* @vite-ignore */ join(folder, "swish.ts"));
  const swish = operators().find(({ name }) => name === "swish") as OpDefinition;

  describeLaws(swish);
  describeOperators("on ONNX Runtime's CPU", () => onnxRuntimeNode(), { definitions: [swish] });
});

describe("docs/operators.md", () => {
  it("names every operator", () => {
    const text = readFileSync(join(root, "docs/operators.md"), "utf8");
    const missing = Object.entries(operatorFunctions).filter(
      ([name, fn]) => typeof fn === "function" && !text.includes(`\`${name}\``),
    );
    expect(missing.map(([name]) => name)).toEqual([]);
  });
});

describe.each(documents)("links of %s", (document) => {
  const text = readFileSync(join(root, document), "utf8").replace(/^```.*?^```$/gms, "");
  const links = [...new Set([...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, path]) => path ?? ""))];
  it("lead somewhere", () => {
    const broken = links.filter((path) => !/^[a-z]+:/.test(path) && !existsSync(join(root, dirname(document), path)));
    expect(broken).toEqual([]);
  });
});
