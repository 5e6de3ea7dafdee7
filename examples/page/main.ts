/**
 * A page that trains a GPT on a text and lets it write, as an example of Tsumiki in a browser. The engine is in a worker
 * (the default in a page), so that everything here stays responsive.
 */

import { packed } from "tsumiki/data";
import { defaultEngine } from "tsumiki/engine";
import { generate } from "tsumiki/generate";
import { GPT2 } from "tsumiki/models";
import { lossCurveSvg } from "tsumiki/runs";
import { type Tokenizer, trainTokenizer } from "tsumiki/tokenizer";
import { type StepMetrics, train } from "tsumiki/train";

const context = 64;
const batchSize = 12;
/** Steps between two samples. */
const sampleEvery = 50;

const element = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const [form, status, curve, samples] = ["settings", "status", "curve", "samples"].map((id) => element(id)) as [
  HTMLFormElement,
  HTMLElement,
  HTMLElement,
  HTMLElement,
];
const fileInput = element<HTMLInputElement>("file");
const [trainButton, stopButton] = [element<HTMLButtonElement>("train"), element<HTMLButtonElement>("stop")];
const valueIn = (id: string): string => element<HTMLInputElement>(id).value;

async function run(signal: AbortSignal): Promise<void> {
  const say = (text: string) => status.replaceChildren(text);
  samples.replaceChildren();
  say("Reading the text and training a tokenizer …");
  const [file] = fileInput.files ?? [];
  if (!file) return say("Choose a text first.");
  const text = await file.text();
  const tokenizer = await trainTokenizer(text, { model: "bpe", vocabSize: 512 });
  const model = new GPT2({ vocabSize: tokenizer.vocabSize, nEmbd: 128, nLayer: 4, nHead: 4, nPositions: context });
  const { device, threads } = await defaultEngine();
  const engine = device === "wasm" ? `WebAssembly, ${threads} thread${threads === 1 ? "" : "s"}` : "WebGPU";

  const steps = Number(valueIn("steps"));
  const rows: StepMetrics[] = [];
  say("Compiling the training step …");
  const { stopped } = await train(model, packed(text, tokenizer, { context }), {
    steps,
    batchSize,
    learningRate: 1e-3,
    signal,
    async onStep(metrics) {
      rows.push(metrics);
      const { step, loss, units, seconds } = metrics;
      say(`Step ${step} of ${steps} · loss ${loss.toFixed(3)} · ${Math.round(units / seconds)} tokens/s · ${engine}`);
      curve.innerHTML = lossCurveSvg(rows, { title: `${rows.length} steps` });
      if (step % sampleEvery === 0 || step === steps) await write(model, tokenizer, `after step ${step}`, signal);
    },
  });
  say(`${stopped ? "Stopped" : "Done"} after ${rows.length} steps · loss ${rows.at(-1)?.loss.toFixed(3)} · ${engine}`);
}

/** Adds a sample to the page, piece by piece as the model chooses it. */
async function write(model: GPT2, tokenizer: Tokenizer, when: string, signal: AbortSignal): Promise<void> {
  const prompt = valueIn("prompt");
  const item = document.createElement("li");
  const [label, begun] = [document.createElement("small"), document.createElement("b")];
  label.append(when);
  begun.append(prompt);
  item.append(label, begun);
  samples.prepend(item);
  for await (const piece of generate(model, tokenizer, prompt, { maxTokens: 80, temperature: Number(valueIn("temperature")) })) {
    if (signal.aborted) return;
    item.append(piece);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const stopping = new AbortController();
  stopButton.onclick = () => stopping.abort();
  trainButton.disabled = true;
  stopButton.disabled = false;
  try {
    await run(stopping.signal);
  } catch (error) {
    status.replaceChildren(error instanceof Error ? error.message : String(error));
  } finally {
    trainButton.disabled = false;
    stopButton.disabled = true;
  }
});
