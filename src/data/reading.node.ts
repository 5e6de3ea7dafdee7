export {
  type FileDataset,
  type LocatedExample,
  type ReadOptions,
  readExamples,
  readLocatedExamples,
} from "./examples.node.js";
export { type FoundFiles, findFiles } from "./files.node.js";
export { type DataInspection, type InspectOptions, inspectData } from "./inspect.node.js";
export { cachedTokens, contentHash, type TokenCacheOptions, type TokenizingProgress } from "./tokens/token-cache.node.js";
export { openTokenFile, type TokenFile, type TokenFileWriter, tokenFileWriter } from "./tokens/token-file.node.js";
