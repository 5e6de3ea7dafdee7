/** Where texts come from in a page: addresses. */

import { ArgumentError } from "../errors.js";
import type { CorpusName } from "./corpora.js";

export async function corpusBytesFromNpm(name: CorpusName, _options?: object): Promise<Uint8Array> {
  throw new ArgumentError(
    `A page has no npm to fetch the corpus ${name} with: give the address of its text, corpus("${name}", { url }).`,
  );
}

export { fetchBytes as readBytes } from "./fetch-bytes.js";
