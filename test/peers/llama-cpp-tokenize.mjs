/** Run by tokenizer.test.ts in a process of its own: what llama.cpp makes of texts. Prints a JSON list of { addBos, ids } of files. */

const [moduleUrl, texts, ...paths] = /** @type {[string, string, ...string[]]} */ (process.argv.slice(2));
const { getLlama } = await import(moduleUrl);

const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error", maxThreads: 1 });
const results = [];
for (const modelPath of paths) {
  const model = await llama.loadModel({ modelPath, vocabOnly: true });
  const ids = JSON.parse(texts).map((/** @type {string} */ text) => model.tokenize(text));
  results.push({ addBos: model.tokens.shouldPrependBosToken, ids });
  await model.dispose();
}
console.log(JSON.stringify(results));
await llama.dispose();
process.exit(0);
