/** Whether a file is still the one that was opened. */

import { statSync } from "node:fs";

/** What tells a file from another one that takes its name; undefined where there is none. */
export function fileIdentity(path: string): string | undefined {
  const status = statSync(path, { throwIfNoEntry: false });
  return status && [status.dev, status.ino, status.size, status.mtimeMs].join(":");
}
