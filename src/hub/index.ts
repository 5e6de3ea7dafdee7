/** Models by name, from the Hugging Face hub (Node). */

export { type DownloadOptions, type DownloadProgress, downloadModel } from "./download.node.js";
export { type ModelName, parseModelName } from "./names.js";
