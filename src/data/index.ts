export {
  cachedTokens,
  contentHash,
  type DataInspection,
  type FileDataset,
  type FoundFiles,
  findFiles,
  type InspectOptions,
  inspectData,
  type LocatedExample,
  openTokenFile,
  type ReadOptions,
  readExamples,
  readLocatedExamples,
  type TokenCacheOptions,
  type TokenFile,
  type TokenFileWriter,
  type TokenizingProgress,
  tokenFileWriter,
} from "#platform/data/reading";
export { renderSvg, type SvgOptions } from "../image/render-svg.js";
export { type BadRow, type BadRowPolicy, type BadRowReport, BadRows, describeBadRow, type RowPlace } from "./bad-rows.js";
export type { BatchSource, Json, Unit } from "./batch-source.js";
export { type BatchesOptions, batches } from "./batches.js";
export { type BucketedOptions, bucketedDocuments } from "./bucketed.js";
export {
  type CorpusCard,
  type CorpusName,
  type CorpusRow,
  corpora,
  type RowCorpusName,
  type Split,
  type TextCorpusName,
  textCorpora,
} from "./corpora.js";
export { type CorpusOptions, corpus, type RowOptions, textFile } from "./corpus.js";
export { type DataPosition, type DataSource, ignoredLabel, startOfData, type TokenBatch } from "./data-source.js";
export {
  type ClassificationExample,
  type ConversationExample,
  type Example,
  type ExampleKind,
  type PreferenceExample,
  type TextExample,
  type TokenLabelExample,
  textOf,
} from "./example.js";
export * from "./filters/index.js";
export { type FormatName, formats, type RowFormat, recognizeFormat } from "./formats/formats.js";
export { type PackedDocuments, type PackedOptions, type PackedText, packed, packedDocuments } from "./packed.js";
export { describeReading, type ReadingReport } from "./reading-report.js";
export { type Cursor, type Dataset, datasetOf, mapped, type Position, repeated, taken } from "./stream/dataset.js";
export { type InterleaveOptions, interleaved, type WeightedDataset } from "./stream/interleaved.js";
export { type ShuffleOptions, shuffled } from "./stream/shuffled.js";
export { type TokenSignature, type TokenSource, tokenSource } from "./token-source.js";
export { encodeDocuments, type TokenDocument, type TokenDocuments, tokenDocuments } from "./tokens/token-documents.js";
