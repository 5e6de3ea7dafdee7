/** JSON files: checked on the way in, atomic on the way out. */

import * as z from "zod";
import { type ErrorCode, TsumikiError } from "../errors.js";
import { writeFileAtomically } from "../files/atomic.node.js";
import { readJsonText } from "../files/json.node.js";

/** Reads and validates a JSON file; an error of `code` names the file and every field that does not fit. */
export async function readJsonFile<T>(path: string, schema: z.ZodType<T>, code: ErrorCode): Promise<T> {
  let value: unknown;
  try {
    value = JSON.parse(await readJsonText(path));
  } catch (cause) {
    const problem = cause instanceof SyntaxError ? "is not JSON" : "cannot be read";
    throw new TsumikiError(code, `${path} ${problem}: ${(cause as Error).message}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new TsumikiError(code, `${path} does not have the expected content:\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Writes an object as indented JSON, atomically. */
export const writeJsonFile = (path: string, value: object): Promise<void> =>
  writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);
