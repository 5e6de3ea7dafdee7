/** Task `matmul` for a peer written in TypeScript. */

import type { Peer } from "../protocol.js";
import { type MatmulShape, tokensPerStep, type Workload } from "../workloads.js";

/** `products[i]` computes one product of `shapes[i]` and returns its seconds. */
export async function matmulPeer(
  workload: Workload,
  shapes: readonly MatmulShape[],
  products: ReadonlyArray<() => Promise<number>>,
  versions: Readonly<Record<string, string>>,
): Promise<Peer> {
  const onePass = async () => {
    const seconds: number[] = [];
    for (const product of products) seconds.push(await product());
    return seconds;
  };
  const total = (seconds: readonly number[]) => seconds.reduce((sum, each) => sum + each, 0);
  return {
    ready: { compileSeconds: 0, firstStepSeconds: total(await onePass()), parameters: 0, versions },
    async run(count) {
      const passes: number[][] = [];
      for (let i = 0; i < count; i++) passes.push(await onePass());
      const shapeSeconds = shapes.map((_, i) => total(passes.map((pass) => pass[i] as number)) / count);
      const seconds = count * total(shapes.map((shape, i) => shape.count * (shapeSeconds[i] as number)));
      return { seconds, tokens: count * tokensPerStep(workload), shapeSeconds };
    },
  };
}
