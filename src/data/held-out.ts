/** The part of documents that is kept for validation: the last tokens. */

import { ArgumentError } from "../errors.js";
import { documentAt, type TokenDocuments } from "./tokens/token-documents.js";

export function checkShare(validationShare: number): void {
  if (validationShare >= 0 && validationShare < 1) return;
  throw new ArgumentError(
    `validationShare is a part of the text, from 0 up to but not including 1, but ${validationShare} was given.`,
  );
}

/** How many tokens follow another of their document and count for the loss, and the length of their text. */
export function predicted(
  documents: TokenDocuments,
  from: number,
  to: number,
): { validationTokenCount: number; validationBytes: number } {
  const { starts, separator, tokenizer } = documents;
  const tokensAtOnce = 1 << 20;
  let [validationTokenCount, validationBytes] = [0, 0];
  let document = documentAt(starts, from);
  for (let start = from; start < to; start += tokensAtOnce) {
    const end = Math.min(start + tokensAtOnce, to);
    const ids = documents.read(start, end);
    const mask = documents.readLossMask(start, end) ?? new Uint8Array(ids.length).fill(1);
    if (start === from) mask[0] = 0;
    for (; (starts[document] as number) < end; document++) {
      const first = starts[document] as number;
      if (first >= start) mask[first - start] = 0;
      if (document === starts.length - 1) break;
    }
    validationTokenCount += mask.reduce((sum, counts) => sum + counts, 0);
    validationBytes += tokenizer.byteLength(ids.filter((id, i) => mask[i] === 1 && id !== separator));
  }
  return { validationTokenCount, validationBytes };
}

/** The number of tokens to train on: a share of all, or up to a document's beginning that is not further away than half the rest. */
export function placeToCut(starts: Float64Array, validationShare: number): number {
  const tokenCount = starts.at(-1) as number;
  const share = Math.floor(tokenCount * (1 - validationShare));
  if (validationShare === 0 || share >= tokenCount) return share;
  const document = documentAt(starts, share);
  const [before, after] = [starts[document] as number, starts[document + 1] as number];
  const nearest = share - before <= after - share ? before : after;
  return Math.abs(nearest - share) <= (tokenCount - share) / 2 ? nearest : share;
}
