/** A page has no files by path: it fetches rows itself, and encodes documents in memory. */

import { ArgumentError } from "../errors.js";
import type * as node from "./reading.node.js";

export type {
  DataInspection,
  FileDataset,
  FoundFiles,
  InspectOptions,
  LocatedExample,
  ReadOptions,
  TokenCacheOptions,
  TokenFile,
  TokenFileWriter,
  TokenizingProgress,
} from "./reading.node.js";

const noFiles = (what: string) => async (): Promise<never> => {
  throw new ArgumentError(
    `A page cannot ${what}: it has no files by path. Fetch rows and give them to datasetOf, or texts and give them to encodeDocuments.`,
  );
};

export const readExamples: typeof node.readExamples = noFiles("read files of examples");
export const readLocatedExamples: typeof node.readLocatedExamples = noFiles("read files of examples");
export const findFiles: typeof node.findFiles = noFiles("look for files");
export const inspectData: typeof node.inspectData = noFiles("inspect files");
export const cachedTokens: typeof node.cachedTokens = noFiles("keep tokens in files");
export const contentHash: typeof node.contentHash = noFiles("hash files");
export const openTokenFile: typeof node.openTokenFile = noFiles("open files of tokens");
export const tokenFileWriter: typeof node.tokenFileWriter = noFiles("write files of tokens");
