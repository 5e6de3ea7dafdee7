/** Models as ONNX files with their cache, as transformers.js runs them. */

export { type ExportOnnxOptions, exportOnnx } from "#platform/onnx-export/export";
