/** What can be learned, one file each. */

export { bitsPerByte, causalLM, checkTokens, countedLabels, rowsOf } from "./causal-lm.js";
export { distillation, distillationSum } from "./distillation.js";
export { imageClassification, type LabelledPicture, pictureSource } from "./image-classification.js";
export { type Masking, maskedLM, maskTokens } from "./masked-lm.js";
