/** A page has no files by path. */

import { TsumikiError } from "../../errors.js";

export async function readFileSlice(path: string, _offset: number, _length: number): Promise<Uint8Array<ArrayBuffer>> {
  throw new TsumikiError("ENGINE", `A page cannot read weights from the file ${path}. Give them as data.`);
}
