import { defineConfig } from "vitest/config";
import { fromSource } from "./scripts/from-source.mjs";

const report = process.env.TSUMIKI_TEST_REPORT; // a path: the totals go there too, as JSON

export default defineConfig({
  resolve: { conditions: ["tsumiki-source", "node"] },
  ssr: { resolve: { conditions: ["tsumiki-source", "node"] } },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "bench/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    // What a test starts (a worker, a module that Node itself loads) runs from source too.
    execArgv: fromSource,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
  },
});
