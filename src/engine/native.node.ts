/** Calls into C libraries, through koffi, and what they are first used for: how the C library hands out memory (Node). */

import { findHugePages, type HugePages } from "./huge-pages.node.js";
import type { Koffi } from "./openvino/c-functions.js";

/** Stack of a call on another thread. OpenVINO recurses through a model when it compiles it: koffi's own 128 KiB are not enough. */
const asyncStackBytes = 8 * 2 ** 20;

export interface Native {
  readonly koffi: Koffi;
  /** Whether calls on other threads have the stack above: not where something else has loaded a library before. */
  readonly deepStacks: boolean;
  /** Where they have to be asked for. */
  readonly hugePages: HugePages | undefined;
}

let native: Promise<Native> | undefined;

/** koffi, set up once for the process. Throws what `import` throws where it is not installed. */
export function loadNative(): Promise<Native> {
  native ??= setUp();
  return native;
}

async function setUp(): Promise<Native> {
  const { default: koffi } = await import("koffi");
  let deepStacks = koffi.config().async_stack_size === asyncStackBytes;
  if (!deepStacks)
    try {
      koffi.config({ async_stack_size: asyncStackBytes });
      deepStacks = true;
    } catch {
      // A library is loaded already, and the size of stacks is settled.
    }
  giveLargeBlocksBack(koffi);
  return { koffi, deepStacks, hugePages: findHugePages(koffi) };
}

/**
 * Lets glibc take each block from 1 MiB on from the system and give it back when it is freed, as long as nobody has said
 * otherwise. By itself it does that up to the largest block that was ever freed, and keeps all smaller ones: 0.3 GB of a
 * training step of 29 M parameters with OpenVINO in bfloat16 (2.2 GB with it, 1.9 without), and the copies of first weights
 * with ONNX Runtime, at the same speed.
 */
function giveLargeBlocksBack(koffi: Koffi): void {
  if (process.platform !== "linux" || process.env.MALLOC_MMAP_THRESHOLD_ !== undefined) return;
  const mmapThreshold = -3; // M_MMAP_THRESHOLD of <malloc.h>
  try {
    koffi.load("libc.so.6").func("mallopt", "int", ["int", "int"])(mmapThreshold, 2 ** 20);
  } catch {
    // Another C library.
  }
}
