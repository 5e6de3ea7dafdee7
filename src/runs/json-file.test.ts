import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import * as z from "zod";
import { readJsonObject } from "../files/json.node.js";
import { readJsonFile } from "./json-file.node.js";

it("reads JSON with a byte order mark, as some editors of Windows write it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tsumiki-json-"));
  const path = join(folder, "recipe.json");
  await writeFile(path, '\uFEFF{ "steps": 3 }');
  expect(await readJsonFile(path, z.object({ steps: z.int() }), "CONFIG")).toEqual({ steps: 3 });
  expect(await readJsonObject(path)).toEqual({ steps: 3 });
  await rm(folder, { recursive: true });
});
