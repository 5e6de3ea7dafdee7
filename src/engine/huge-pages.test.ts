import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { largeBlocks } from "./huge-pages.node.js";
import { loadNative } from "./native.node.js";

describe("memory that may lie in large pages", () => {
  it("is what can be written to, belongs to no file and is large", () => {
    const maps = [
      "00400000-00b72000 r--p 00000000 fe:00 247580                             /usr/bin/node",
      "02800000-04800000 rw-p 02600000 fe:00 247580                             /usr/bin/node",
      "04900000-08900000 rw-p 00000000 00:00 0                                  [heap]",
      "7f2c40000000-7f2c401ff000 rw-p 00000000 00:00 0 ",
      "7f2c4a000000-7f2c4a200000 rw-p 00000000 00:00 0 ",
      "7f2c4b000000-7f2c4f000000 ---p 00000000 00:00 0 ",
      "7f2c50000000-7f2c58000000 rw-p 00000000 00:00 0",
      "",
    ].join("\n");
    expect(largeBlocks(maps)).toEqual([
      { start: 0x7f2c4a000000, end: 0x7f2c4a200000 },
      { start: 0x7f2c50000000, end: 0x7f2c58000000 },
    ]);
  });
});

/** What Linux notes of the memory at an address: `hg` where large pages were asked for. */
function flagsAt(address: number): readonly string[] {
  const stretches = readFileSync("/proc/self/smaps", "utf8").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/);
  const own = stretches.find((stretch) => {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+)/.exec(stretch) ?? [];
    return Number.parseInt(start ?? "", 16) <= address && address < Number.parseInt(end ?? "", 16);
  });
  return (
    /^VmFlags:(.*)$/m
      .exec(own ?? "")?.[1]
      ?.trim()
      .split(" ") ?? []
  );
}

const native = await loadNative().catch(() => undefined);

describe.skipIf(!native?.hugePages)("large pages, where they have to be asked for", () => {
  const { koffi, hugePages } = native as NonNullable<typeof native>;
  const bytes = 16 * 2 ** 20;
  const middle = (memory: ArrayBuffer) => Number(koffi.address(memory)) + memory.byteLength / 2;

  it("are asked for behind one buffer, and not behind a small one", () => {
    const memory = new ArrayBuffer(bytes);
    expect(flagsAt(middle(memory))).not.toContain("hg");
    hugePages?.behind(Number(koffi.address(memory)), memory.byteLength);
    expect(flagsAt(middle(memory))).toContain("hg");
    expect(Buffer.from(memory).equals(Buffer.alloc(bytes))).toBe(true);

    const small = new ArrayBuffer(2 ** 20 - 1);
    hugePages?.behind(Number(koffi.address(small)), small.byteLength);
    expect(flagsAt(middle(small))).not.toContain("hg");
  });

  it("are asked for behind all large blocks", () => {
    const memory = new ArrayBuffer(bytes);
    new Uint8Array(memory).fill(7);
    hugePages?.behindEverything();
    expect(flagsAt(middle(memory))).toContain("hg");
    expect(Buffer.from(memory).equals(Buffer.alloc(bytes, 7))).toBe(true);
  });
});
