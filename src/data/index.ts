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
export { type PackedDocuments, type PackedOptions, type PackedText, packed, packedDocuments } from "./packed.js";
export { renderSvg, type SvgOptions } from "./render-svg.js";
export { encodeDocuments, type TokenDocument, type TokenDocuments, tokenDocuments } from "./tokens/token-documents.js";
