/** What is wrong with one field of a row; a reader adds the place of the row. */
export class FieldProblem extends Error {
  /** `messages[2].role`; undefined when it is the row as a whole. */
  readonly field: string | undefined;

  constructor(field: string | undefined, problem: string) {
    super(problem);
    this.field = field;
    this.name = new.target.name;
  }
}

/** A value in the words of an error: short, and as it would stand in JSON. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** A text that a tokenizer can be given as it is: not empty, without NUL characters and halves of surrogate pairs. */
export function wholeText(value: unknown, field: string): string {
  const text = soundText(value, field);
  if (text.trim() === "") throw new FieldProblem(field, text === "" ? "is empty" : "is blank");
  return text;
}

/** As `wholeText`, but it may be empty. */
export function soundText(value: unknown, field: string): string {
  if (typeof value !== "string") throw new FieldProblem(field, `is ${show(value)}, expected a text`);
  const nul = value.indexOf("\0");
  if (nul >= 0) throw new FieldProblem(field, `has a NUL character at place ${nul}`);
  const half = value.search(loneSurrogate);
  if (half >= 0) throw new FieldProblem(field, `has half of a surrogate pair at place ${half}`);
  return value;
}

const loneSurrogate = /\p{Surrogate}/u;

export function listOf(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new FieldProblem(field, `is ${show(value)}, expected a list`);
  if (value.length === 0) throw new FieldProblem(field, "is an empty list");
  return value;
}

export type Row = Readonly<Record<string, unknown>>;

export const isRow = (value: unknown): value is Row => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether the field is there and holds something. */
export const has = (row: Row, field: string): boolean => row[field] !== undefined && row[field] !== null;
