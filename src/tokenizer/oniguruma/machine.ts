/** Runs the instructions of a pattern: a backtracking matcher with Oniguruma's meaning, whose work is bounded. */

import { ArgumentError, TsumikiError } from "../../errors.js";
import { asserts } from "./assertions.js";
import { fold } from "./case-folding.js";
import { before, codeAt } from "./characters.js";
import type { CodeSet } from "./code-set.js";
import { op, type Program } from "./program.js";

/** Steps that a text may take: most patterns take a few for each of its units, catastrophic ones 2^length. */
const stepsOfAnyText = 4_000_000;
const stepsOfEachUnit = 2_000;
/** Entries of the stack, of four numbers each. */
const mostEntries = 1 << 22;

// Constants of this module: the switch below is the innermost loop.
const {
  ahead,
  assert,
  atomic,
  back,
  behind,
  char,
  exitIfEmpty,
  jump,
  keep,
  mark,
  match,
  repeat,
  repeatLazy,
  repeatPossessive,
  set: oneOf,
  skipUnless,
  split,
  splitLazy,
} = op;

const none = -1;
/** Kinds of entries: [kind, address, place, least place or count]. */
const choice = 0;
const shorter = 1;
const longer = 2;
const restore = 3;

/** Finds the matches of one program in one text after the other. */
export class Machine {
  private text = "";
  private searchStart = 0;
  private steps = 0;
  private stack = new Int32Array(1 << 10);
  private top = 0;
  private readonly registers: Int32Array;

  /** @param first what a match can begin with, where that is known and it is not empty */
  constructor(
    private readonly program: Program,
    private readonly source: string,
    private readonly first: CodeSet | undefined,
  ) {
    this.registers = new Int32Array(program.registers);
  }

  /**
   * Calls `visit` with the matches, as the crate `onig` lists them: empty ones too, but none right behind the match before.
   *
   * @throws TsumikiError TOKENIZER where the pattern takes too many steps
   */
  forEachMatch(text: string, visit: (start: number, end: number) => void): void {
    this.text = text;
    this.steps = stepsOfAnyText + stepsOfEachUnit * text.length;
    let lastEnd = none;
    for (let from = 0; from <= text.length; ) {
      const end = this.search(from);
      if (end === none) break;
      const start = this.registers[0] as number;
      if (start === end && end === lastEnd) {
        from += from < text.length && codeAt(text, from) > 0xffff ? 2 : 1;
        continue;
      }
      visit(start, end);
      from = end;
      lastEnd = end;
    }
    this.text = "";
    if (this.stack.length > 1 << 20) this.stack = new Int32Array(1 << 10);
  }

  /** The end of the first match from `from` on, whose start is then in register 0; -1 where there is none. */
  private search(from: number): number {
    const { text, first, registers } = this;
    this.searchStart = from;
    for (let start = from; start <= text.length; ) {
      const code = start < text.length ? codeAt(text, start) : none;
      if (first === undefined || (code !== none && first.has(code))) {
        registers.fill(none);
        registers[0] = start;
        this.top = 0;
        const end = this.run(0, start, none);
        if (end !== none) return end;
      }
      if (--this.steps < 0) throw this.tooManySteps();
      start += code > 0xffff ? 2 : 1;
    }
    return none;
  }

  /** Matches from the address on at `start`; with `mustEnd`, up to there. Leaves no choices behind. */
  private run(address: number, start: number, mustEnd: number): number {
    const { text, registers } = this;
    const { code, sets } = this.program;
    const { length } = text;
    const base = this.top;
    let pc = address;
    let at = start;
    for (;;) {
      let fails = false;
      switch (code[pc]) {
        case match:
          if (mustEnd === none || at === mustEnd) {
            this.dropChoices(base);
            return at;
          }
          fails = true;
          break;
        case char: {
          const wanted = code[pc + 1] as number;
          if (at < length && codeAt(text, at) === wanted) {
            at += wanted > 0xffff ? 2 : 1;
            pc += 2;
          } else fails = true;
          break;
        }
        case oneOf: {
          const found = at < length ? codeAt(text, at) : none;
          if (found !== none && (sets[code[pc + 1] as number] as CodeSet).has(found)) {
            at += found > 0xffff ? 2 : 1;
            pc += 2;
          } else fails = true;
          break;
        }
        case split:
          this.push(choice, code[pc + 1] as number, at, 0);
          pc += 2;
          break;
        case splitLazy:
          this.push(choice, pc + 2, at, 0);
          pc = code[pc + 1] as number;
          break;
        case jump:
          pc = code[pc + 1] as number;
          break;
        case skipUnless:
          pc = at < length && (sets[code[pc + 1] as number] as CodeSet).has(codeAt(text, at)) ? pc + 3 : (code[pc + 2] as number);
          break;
        case repeat:
        case repeatLazy:
        case repeatPossessive: {
          const set = sets[code[pc + 1] as number] as CodeSet;
          const least = code[pc + 2] as number;
          const isLazy = code[pc] === repeatLazy;
          const most = isLazy ? least : (code[pc + 3] as number);
          let count = 0;
          let leastEnd = at;
          let end = at;
          while (count < most && end < length) {
            const found = codeAt(text, end);
            if (!set.has(found)) break;
            end += found > 0xffff ? 2 : 1;
            if (++count === least) leastEnd = end;
          }
          this.steps -= count;
          if (count < least) {
            fails = true;
            break;
          }
          if (isLazy) {
            const more = (code[pc + 3] as number) - least;
            if (more > 0) this.push(longer, pc, end, more);
          } else if (end > leastEnd && code[pc] === repeat) this.push(shorter, pc + 4, end, leastEnd);
          at = end;
          pc += 4;
          break;
        }
        case ahead: {
          const end = this.run(pc + 3, at, none);
          if ((end === none) === (code[pc + 2] === 1)) pc = code[pc + 1] as number;
          else fails = true;
          break;
        }
        case behind: {
          const isFound = this.looksBehind(pc + 5, at, code[pc + 3] as number, code[pc + 4] as number);
          if (isFound !== (code[pc + 2] === 1)) pc = code[pc + 1] as number;
          else fails = true;
          break;
        }
        case atomic: {
          const end = this.run(pc + 2, at, none);
          if (end === none) fails = true;
          else {
            at = end;
            pc = code[pc + 1] as number;
          }
          break;
        }
        case assert:
          if (asserts(text, code[pc + 1] as number, at, this.searchStart) !== (code[pc + 2] === 1)) pc += 3;
          else fails = true;
          break;
        case keep:
          this.push(restore, 0, registers[0] as number, 0);
          registers[0] = at;
          pc += 1;
          break;
        case mark: {
          const register = code[pc + 1] as number;
          this.push(restore, register, registers[register] as number, 0);
          registers[register] = at;
          pc += 2;
          break;
        }
        case exitIfEmpty:
          pc = registers[code[pc + 1] as number] === at ? (code[pc + 2] as number) : pc + 3;
          break;
        case back: {
          const end = this.endOfRepeated(code[pc + 1] as number, code[pc + 2] === 1, at);
          if (end === none) fails = true;
          else {
            at = end;
            pc += 3;
          }
          break;
        }
        default:
          throw new ArgumentError(`There is no instruction ${code[pc]}.`);
      }
      if (!fails) continue;
      // Back to the last choice.
      for (;;) {
        if (this.top === base) return none;
        if (--this.steps < 0) throw this.tooManySteps();
        const { stack } = this;
        const entry = this.top - 4;
        const kind = stack[entry] as number;
        const place = stack[entry + 2] as number;
        if (kind === restore) {
          registers[stack[entry + 1] as number] = place;
          this.top = entry;
          continue;
        }
        if (kind === choice) {
          this.top = entry;
          pc = stack[entry + 1] as number;
          at = place;
          break;
        }
        if (kind === shorter) {
          at = before(text, place);
          pc = stack[entry + 1] as number;
          if (at === stack[entry + 3]) this.top = entry;
          else stack[entry + 2] = at;
          break;
        }
        const instruction = stack[entry + 1] as number;
        const found = place < length ? codeAt(text, place) : none;
        if (found === none || !(sets[code[instruction + 1] as number] as CodeSet).has(found)) {
          this.top = entry;
          continue;
        }
        at = place + (found > 0xffff ? 2 : 1);
        pc = instruction + 4;
        const left = (stack[entry + 3] as number) - 1;
        if (left === 0) this.top = entry;
        else {
          stack[entry + 2] = at;
          stack[entry + 3] = left;
        }
        break;
      }
    }
  }

  private looksBehind(address: number, at: number, shortest: number, longest: number): boolean {
    let start = at;
    for (let count = 0; count <= longest; count++) {
      if (count >= shortest && this.run(address, start, at) !== none) return true;
      if (start === 0) return false;
      start = before(this.text, start);
      if (--this.steps < 0) throw this.tooManySteps();
    }
    return false;
  }

  /** Where the text of a group ends when it stands at `at` again. */
  private endOfRepeated(group: number, ignoringCase: boolean, at: number): number {
    const { text, registers } = this;
    const start = registers[2 * group] as number;
    const end = registers[2 * group + 1] as number;
    if (start === none || end === none) return none;
    const wanted = text.slice(start, end);
    const found = text.slice(at, at + wanted.length);
    this.steps -= wanted.length;
    const folded = (some: string) => Array.from(some, (character) => fold(character.codePointAt(0) as number)).join();
    return found === wanted || (ignoringCase && folded(found) === folded(wanted)) ? at + wanted.length : none;
  }

  /** A group that has matched keeps its first way only; registers are still restored when it is undone. */
  private dropChoices(base: number): void {
    const { stack } = this;
    let kept = base;
    for (let entry = base; entry < this.top; entry += 4) {
      if (stack[entry] !== restore) continue;
      if (kept !== entry) stack.copyWithin(kept, entry, entry + 4);
      kept += 4;
    }
    this.top = kept;
  }

  private push(kind: number, address: number, place: number, last: number): void {
    if (this.top + 4 > this.stack.length) this.grow();
    const { stack, top } = this;
    stack[top] = kind;
    stack[top + 1] = address;
    stack[top + 2] = place;
    stack[top + 3] = last;
    this.top = top + 4;
  }

  private grow(): void {
    if (this.stack.length >= 4 * mostEntries) throw this.tooManySteps();
    const larger = new Int32Array(2 * this.stack.length);
    larger.set(this.stack);
    this.stack = larger;
  }

  private tooManySteps(): TsumikiError {
    const { length } = this.text;
    this.text = "";
    return new TsumikiError(
      "TOKENIZER",
      `The pattern ${this.source} of this tokenizer.json takes too long on a text of ${length} characters: it tries too many ways to ` +
        "match it. Cut the text into shorter ones, or correct the pattern.",
    );
  }
}
