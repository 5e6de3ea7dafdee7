export { type BatchesOptions, batches } from "./batches.js";
export { type CorpusCard, type CorpusName, corpora } from "./corpora.js";
export { type CorpusOptions, corpus, textFile } from "./corpus.js";
export { type DataPosition, type DataSource, ignoredLabel, startOfData, type TokenBatch } from "./data-source.js";
export { type PackedDocuments, type PackedOptions, type PackedText, packed, packedDocuments } from "./packed.js";
export { encodeDocuments, type TokenDocument, type TokenDocuments, tokenDocuments } from "./tokens/token-documents.js";
