/** The progress of a download on standard error: a bar in a terminal, a line for each file elsewhere. */

import type { DownloadProgress } from "../hub/download.node.js";

export interface DownloadReport {
  readonly onProgress: (progress: DownloadProgress) => void;
  /** Ends the bar, so that other output may follow. */
  end(): void;
}

export async function downloadReport(output: NodeJS.WriteStream = process.stderr): Promise<DownloadReport> {
  if (!output.isTTY) {
    let file: string | undefined;
    const onProgress = (progress: DownloadProgress) => {
      if (progress.file !== file) output.write(`downloading ${progress.file}\n`);
      file = progress.file;
    };
    return { onProgress, end: () => {} };
  }
  const { default: progressLibrary } = await import("cli-progress");
  const bar = new progressLibrary.SingleBar({
    format: "{file} [{bar}] {percentage}% of {size} GB, {eta_formatted} left",
    stream: output,
    clearOnComplete: true,
    hideCursor: true,
  });
  let started = false;
  return {
    onProgress({ file, receivedBytes, totalBytes }) {
      const details = { file, size: (totalBytes / 1e9).toPrecision(3) };
      if (started) bar.update(receivedBytes, details);
      else bar.start(totalBytes, receivedBytes, details);
      started = true;
    },
    end: () => {
      if (started) bar.stop();
    },
  };
}
