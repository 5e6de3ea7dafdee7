/** Run by sentencepiece.test.ts in a process of its own: what llama.cpp makes of texts. Prints { addBos, results: [{ ids }] }. */

const [moduleUrl, modelPath, texts] = /** @type {[string, string, string]} */ (process.argv.slice(2));
const { getLlama } = await import(moduleUrl);

const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error", maxThreads: 1 });
const model = await llama.loadModel({ modelPath, vocabOnly: true });
const results = JSON.parse(texts).map((/** @type {string} */ text) => ({ ids: model.tokenize(text) }));
console.log(JSON.stringify({ addBos: model.tokens.shouldPrependBosToken, results }));
await llama.dispose();
process.exit(0);
