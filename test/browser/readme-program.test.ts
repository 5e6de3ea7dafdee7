/** The README's first program in a page: as it is printed, but for what its comments say about pages and for fewer steps. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { corpus } from "../../src/data/index.js";
import { chromiumAbsent, findChromium, openModule } from "./chromium.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const program = /^```ts\n(.*?)^```$/ms.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] ?? "";

/** Each must be there exactly once. */
const changes: readonly [printed: string, here: string][] = [
  // What the program's own comments tell to write in a page.
  [`corpus("moby-dick"); // from npm; in a page: corpus("moby-dick", { url })`, `corpus("moby-dick", { url: "moby-dick.txt" });`],
  ["process.stdout.write(piece); // in a page: document.body.append(piece)", "document.body.append(piece);"],
  // Less of it, with losses that can be looked at.
  ["steps: 1000", "steps: 40, onStep: ({ loss }) => void losses.push(loss)"],
];

describe.skipIf(!findChromium())(`the README's first program in a page (skipped when ${chromiumAbsent})`, () => {
  /** Inside the repository, from where the package's own name leads to `src/`. */
  let folder: string;
  beforeAll(() => {
    mkdirSync(join(root, ".tsumiki"), { recursive: true });
    folder = mkdtempSync(join(root, ".tsumiki", "page-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(changes)("has %s once", (printed) => expect(program.split(printed)).toHaveLength(2));

  it("trains and speaks", async () => {
    const inPage = changes.reduce((text, [printed, here]) => text.replace(printed, here), program);
    writeFileSync(
      join(folder, "program.ts"),
      `const losses: number[] = [];\n${inPage}\nexport const getLosses = () => losses;\n`,
    );
    writeFileSync(join(folder, "moby-dick.txt"), await corpus("moby-dick"));
    const { page, problems, call, close } = await openModule<{ getLosses(): number[] }>(join(folder, "program.ts"), {
      files: { "moby-dick.txt": join(folder, "moby-dick.txt") },
    });
    try {
      const losses = await call("getLosses"); // answered when the module has been evaluated, from its first line to its last
      const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
      expect(losses).toHaveLength(40);
      expect(losses[0]).toBeCloseTo(Math.log(1024), 0);
      expect(mean(losses.slice(-5))).toBeLessThan((losses[0] as number) - 0.5);
      // At least one character for most of the 80 tokens.
      expect((await page.textContent("body"))?.length).toBeGreaterThan(60);
      expect(problems).toEqual([]);
    } finally {
      await close();
    }
  });
});
