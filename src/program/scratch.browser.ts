import type * as node from "./scratch.node.js";

/** A page has no files. */
export const writeScratch: typeof node.writeScratch = async () => undefined;
