export { readSafetensors, type SafetensorsEntry, type SafetensorsFile, writeSafetensors } from "./safetensors.js";
