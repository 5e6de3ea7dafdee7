/** Models by name, from the Hugging Face hub. */

export { type DownloadOptions, type DownloadProgress, downloadModel } from "#platform/hub/download";
export { type ModelName, parseModelName } from "./names.js";
