/** Run by gguf.test.ts in a process of its own: what llama.cpp makes of files. Prints a JSON list of { prompt, generated, text }. */

const [moduleUrl, text, count, ...paths] = /** @type {[string, string, string, ...string[]]} */ (process.argv.slice(2));
const { getLlama } = await import(moduleUrl);

const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error", maxThreads: 1 });
const results = [];
for (const modelPath of paths) {
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({ contextSize: 64, threads: 1 });
  const sequence = context.getSequence();
  const prompt = model.tokenize(text);
  const generated = [];
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    generated.push(token);
    if (generated.length === Number(count)) break;
  }
  results.push({ prompt, generated, text: model.detokenize(generated) });
  await model.dispose();
}
console.log(JSON.stringify(results));
await llama.dispose();
process.exit(0);
