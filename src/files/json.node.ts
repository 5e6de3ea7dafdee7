/** Objects in JSON files. */

import { readFile } from "node:fs/promises";
import { TsumikiError } from "../errors.js";

/** The text of a JSON file, without the byte order mark that some editors of Windows put in front. */
export const readJsonText = async (path: string): Promise<string> => (await readFile(path, "utf8")).replace(/^\uFEFF/, "");

/**
 * The object in a JSON file; undefined where there is no file.
 *
 * @throws TsumikiError CONFIG where the file cannot be read, is not JSON or holds something else
 */
export async function readJsonObject(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  let text: string;
  try {
    text = await readJsonText(path);
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw new TsumikiError("CONFIG", `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (cause) {
    throw new TsumikiError("CONFIG", `${path} is not JSON; it may be truncated: ${(cause as Error).message}`, { cause });
  }
  throw new TsumikiError("CONFIG", `${path} does not hold an object: ${text.slice(0, 40)}`);
}
