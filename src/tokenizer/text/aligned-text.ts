/** Text that remembers which part of another text each of its units came from. */

import type { Matcher } from "../oniguruma/pattern.js";

/** [start, end) in the original text of every UTF-16 unit. */
export interface Alignment {
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** Where in the original this text begins: there stands what is inserted before everything else. */
  readonly origin: number;
}

/** Without an alignment only the text is computed, which is what most callers want. */
export interface AlignedText {
  readonly text: string;
  readonly alignment: Alignment | undefined;
}

/** `text`, aligned with itself. A surrogate pair is one character: both halves have its range. */
export function aligned(text: string): AlignedText {
  const starts = new Int32Array(text.length);
  const ends = new Int32Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const isPair = (text.codePointAt(i) as number) > 0xffff;
    starts[i] = i;
    ends[i] = isPair ? i + 2 : i + 1;
    if (!isPair) continue;
    i++;
    starts[i] = i - 1;
    ends[i] = i + 1;
  }
  return { text, alignment: { starts, ends, origin: 0 } };
}

/** The range of the original that `[start, end)` came from; undefined for an empty range. */
export function originalRange({ starts, ends }: Alignment, start: number, end: number): [number, number] | undefined {
  if (start >= end) return undefined;
  return [starts[start] as number, ends[end - 1] as number];
}

/** Builds a text from parts of another and from text put in their place. */
export class TextRewriter {
  private readonly parts: string[] = [];
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  /** Where the source has been read to. */
  private position = 0;

  constructor(private readonly source: AlignedText) {}

  /** Keeps the source up to `end`. */
  keepTo(end: number): void {
    if (end <= this.position) return;
    this.parts.push(this.source.text.slice(this.position, end));
    const { alignment } = this.source;
    if (alignment)
      for (let i = this.position; i < end; i++) this.align(alignment.starts[i] as number, alignment.ends[i] as number);
    this.position = end;
  }

  /**
   * Writes `text` in place of the source up to `end`. Every unit of it stands for the last character that it replaces, as in Rust; what
   * replaces none for the one before.
   */
  replaceTo(end: number, text: string): void {
    this.parts.push(text);
    const { alignment } = this.source;
    if (alignment) {
      const range = originalRange(alignment, Math.max(0, end - 1), end) ?? [alignment.origin, alignment.origin];
      for (let i = 0; i < text.length; i++) this.align(range[0], range[1]);
    }
    this.position = end;
  }

  finish(): AlignedText {
    this.keepTo(this.source.text.length);
    const alignment = this.source.alignment && {
      starts: Int32Array.from(this.starts),
      ends: Int32Array.from(this.ends),
      origin: this.source.alignment.origin,
    };
    return { text: this.parts.join(""), alignment };
  }

  private align(start: number, end: number): void {
    this.starts.push(start);
    this.ends.push(end);
  }
}

/** Replaces single characters: `replace` gives the text for a code point, or undefined to keep it. */
export function replaceCharacters(source: AlignedText, replace: (codePoint: number) => string | undefined): AlignedText {
  const { text } = source;
  const rewriter = new TextRewriter(source);
  for (let i = 0; i < text.length; ) {
    const code = text.codePointAt(i) as number;
    const next = i + (code > 0xffff ? 2 : 1);
    const replacement = replace(code);
    if (replacement !== undefined) {
      rewriter.keepTo(i);
      rewriter.replaceTo(next, replacement);
    }
    i = next;
  }
  return rewriter.finish();
}

/** Replaces what a pattern matches; empty matches are replaced too. */
export function replaceMatches(source: AlignedText, pattern: Matcher, replacement: string): AlignedText {
  const rewriter = new TextRewriter(source);
  pattern(source.text, (start, end) => {
    rewriter.keepTo(start);
    rewriter.replaceTo(end, replacement);
  });
  return rewriter.finish();
}
