/** What is written to a pipe whose reader has gone, as `| head` does when it has seen enough. */

/** What a shell reports for a program that SIGPIPE ended (128 + 13), which is how others end then. */
export const closedPipeExitCode = 141;

/** Ends the process without a word when nobody reads `stream` any more. */
export function endWithReader(stream: NodeJS.WriteStream): void {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(closedPipeExitCode);
    throw error;
  });
}
