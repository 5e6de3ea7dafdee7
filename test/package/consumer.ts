/** What package.test.ts compiles and runs where the packed package is installed: every sub-path, and a program on an engine. */

import * as tsumiki from "tsumiki";
import * as chat from "tsumiki/chat";
import * as checkpoint from "tsumiki/checkpoint";
import * as data from "tsumiki/data";
import * as engine from "tsumiki/engine";
import * as generate from "tsumiki/generate";
import * as gguf from "tsumiki/gguf";
import * as graph from "tsumiki/graph";
import * as hub from "tsumiki/hub";
import * as image from "tsumiki/image";
import * as inspect from "tsumiki/inspect";
import * as models from "tsumiki/models";
import * as nn from "tsumiki/nn";
import * as onnx from "tsumiki/onnx";
import * as onnxExport from "tsumiki/onnx-export";
import * as optim from "tsumiki/optim";
import { compile, float32 } from "tsumiki/program";
import * as runs from "tsumiki/runs";
import * as tokenizer from "tsumiki/tokenizer";
import * as train from "tsumiki/train";
import * as objectives from "tsumiki/train/objectives";
import * as tuning from "tsumiki/tuning";

const namespaces = {
  tsumiki,
  chat,
  checkpoint,
  data,
  engine,
  generate,
  graph,
  image,
  models,
  nn,
  onnx,
  optim,
  runs,
  tokenizer,
  train,
  objectives,
  tuning,
  gguf,
  hub,
  inspect,
  onnxExport,
};
for (const [name, exported] of Object.entries(namespaces))
  if (Object.keys(exported).length === 0) throw new Error(`tsumiki/${name} exports nothing`);

// @ts-expect-error the published declarations know the dtypes
const misspelt: graph.DType = "float31";

const square = compile(({ x }) => ({ y: x.mul(x) }), { x: float32("n") });
const { y } = await square({ x: [1, 2, 3] });
await square.release();

// @ts-expect-error and a program's inputs
const wrongFeed: Parameters<typeof square>[0] = { z: [1, 2, 3] };

if (misspelt === undefined || wrongFeed === undefined) throw new Error("unreachable");
if ([...y.data].join() !== "1,4,9") throw new Error(`The squares of 1, 2, 3 are [${[...y.data].join(", ")}]?`);
console.log("ok");
