export { exactDuplicates, type NearDuplicateOptions, nearDuplicates } from "./duplicates.js";
export {
  type DroppedExample,
  decisiveSettings,
  describeReports,
  type Filter,
  type FilteredDataset,
  type FilterReport,
  filtered,
  type Judge,
} from "./filter.js";
export { type LengthOptions, lengthFilter } from "./length.js";
export { type C4Options, c4, type GopherQualityOptions, gopherQuality, gopherRepetition } from "./quality.js";
