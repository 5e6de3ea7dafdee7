import type { Engine } from "./engine.js";

export const createEngine = async (): Promise<Engine> => (await import("./onnxruntime/node.js")).onnxRuntimeNode();
