/** Hashes of texts, for telling them apart: not for keeping secrets. */

/** 32-bit finalizer with full avalanche (C. Wellons, "lowbias32"). */
export function mix(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** 32 bits of a text; `lane` chooses one of several hashes. */
export function hash32(text: string, lane = 0): number {
  let hash = mix(lane + 0x9e3779b9);
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) ^ (hash >>> 15);
  return mix(hash ^ text.length);
}

/** 128 bits of a text, as eight UTF-16 units: among a thousand million texts no two are taken for one. */
export function hash128(text: string): string {
  const lanes = [1, 2, 3, 4].map((lane) => mix(hash32(text, lane) + Math.imul(lane, 0x85ebca6b)));
  return String.fromCharCode(...lanes.flatMap((hash) => [hash & 0xffff, (hash >>> 16) & 0xffff]));
}
