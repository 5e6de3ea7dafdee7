/**
 * Every operator, forward and backward, on ONNX Runtime's CPU and WebAssembly with their lowerings, against the reference.
 * The standard faces on the CPU have their test beside the operators.
 */

import "../../graph/index.js";
import { isStaticShape } from "../../graph/dim.js";
import { describeOperators } from "../../graph/testing/describe-operators.js";
import type { Engine } from "../engine.js";
import { onnxRuntimeNode } from "./node.js";
import { onnxRuntimeWeb } from "./web.js";

/** The same engine, whose outputs of known shape go into buffers that are given. */
function givingBuffers(engine: Engine): Engine {
  const load: Engine["load"] = async (source) => {
    const model = await engine.load(source);
    return {
      release: () => model.release(),
      async run(inputs, outputs) {
        const given = new Map(outputs);
        for (const name of outputs.keys()) {
          const { dtype, shape } = source.graph.outputs.get(name) ?? {};
          if (dtype && shape && isStaticShape(shape)) given.set(name, await engine.allocate(dtype, shape));
        }
        return model.run(inputs, given);
      },
    };
  };
  return new Proxy(engine, {
    get(target, key) {
      if (key === "load") return load;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describeOperators("ONNX Runtime's CPU, lowered, into given buffers", async () =>
  givingBuffers(await onnxRuntimeNode({ threads: 2 })),
);

describeOperators("ONNX Runtime's WebAssembly", () => onnxRuntimeWeb({ threads: 2 }));
