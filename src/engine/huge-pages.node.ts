/**
 * Pages of 2 MiB behind large blocks of memory, on Linux where programs have to ask for them
 * (`/sys/kernel/mm/transparent_hugepage/enabled` says `madvise`). A step of training goes through gigabytes; with pages of 4 KiB the
 * processor spends a part of it on looking up where they lie, in a virtual machine through two tables. The step of 29 M parameters
 * on OpenVINO takes 4 % less time (median of 11 interleaved rounds), one of 10 M 3 %, and no more memory. On ONNX Runtime's there was no
 * clear difference. Gathering what was written to before (MADV_COLLAPSE) took 0.2 GB more and no less time.
 */

import { readFileSync } from "node:fs";
import type { Koffi } from "./openvino/c-functions.js";

const policyFile = "/sys/kernel/mm/transparent_hugepage/enabled";
const pageBytes = 4096;
const hugePageBytes = 2 * 2 ** 20;
/** Blocks from here on come from the system (`native.node.ts`), side by side: a large page may hold several. */
const largeBytes = 2 ** 20;
/** Of Linux' `<sys/mman.h>`. */
const MADV_HUGEPAGE = 14;

/** Asks for large pages, for memory that has not been written to yet. What is refused stays in small ones. */
export interface HugePages {
  /** Behind a buffer; only where it is large. */
  behind(address: number, bytes: number): void;
  /** Behind all large blocks that the process has taken from the system by now. */
  behindEverything(): void;
}

/** `undefined` where there are none, or where everyone gets them without asking. */
export function findHugePages(koffi: Koffi): HugePages | undefined {
  if (process.platform !== "linux" || process.arch !== "x64" || !mustBeAskedFor()) return undefined;
  let advise: (address: number, bytes: number, advice: number) => number;
  try {
    advise = koffi.load("libc.so.6").func("madvise", "int", ["uintptr_t", "size_t", "int"]);
  } catch {
    return undefined; // another C library
  }
  return {
    behind(address, bytes) {
      if (bytes < largeBytes) return;
      const start = Math.ceil(address / pageBytes) * pageBytes;
      const end = Math.floor((address + bytes) / pageBytes) * pageBytes;
      advise(start, end - start, MADV_HUGEPAGE);
    },
    behindEverything() {
      for (const { start, end } of largeBlocks(readFileSync("/proc/self/maps", "utf8")))
        advise(start, end - start, MADV_HUGEPAGE);
    },
  };
}

function mustBeAskedFor(): boolean {
  try {
    return readFileSync(policyFile, "utf8").includes("[madvise]");
  } catch {
    return false; // a kernel without them
  }
}

/** Addresses from `start` on, up to `end`. */
export interface Block {
  readonly start: number;
  readonly end: number;
}

/**
 * Memory that can be written to, is no file's, and has room for a large page, in the text of `/proc/self/maps`:
 * `7f2c4a000000-7f2c4c000000 rw-p 00000000 00:00 0`
 */
export function largeBlocks(maps: string): readonly Block[] {
  return maps.split("\n").flatMap((line) => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0\s*$/.exec(line) ?? [];
    if (from === undefined || to === undefined) return [];
    const block = { start: Number.parseInt(from, 16), end: Number.parseInt(to, 16) };
    return block.end - block.start >= hugePageBytes ? [block] : [];
  });
}
