/** Models by name: downloaded from the Hugging Face hub, or a server that speaks like it, into the cache that Python shares. */

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { HubApiError, listFiles, modelInfo } from "@huggingface/hub";
import { ArgumentError, TsumikiError } from "../errors.js";
import { isCommit, namesIn, placeBlob, type RepositoryCache, repositoryCache, sizeOf } from "./cache.node.js";
import { isWanted, type ModelName, parseModelName, type WantedFiles } from "./names.js";
import { blobName, type RemoteFile, transfer } from "./transfer.node.js";

export interface DownloadProgress {
  /** The file that is arriving. */
  readonly file: string;
  /** Of all files together, those that are in the cache already too. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface DownloadOptions {
  /** Branch, tag or commit. Default "main"; it can be part of the name too: `org/name@revision`. */
  readonly revision?: string;
  /** Default: `HF_ENDPOINT`, or https://huggingface.co. */
  readonly hubUrl?: string;
  /** Default: `HF_HUB_CACHE`, `HF_HOME`/hub, or ~/.cache/huggingface/hub. */
  readonly cacheFolder?: string;
  /** Use what is in the cache and ask nobody. Default: whether `HF_HUB_OFFLINE` is set. */
  readonly offline?: boolean;
  /** For private and gated models. Default: `HF_TOKEN`, or what `hf auth login` keeps: `HF_TOKEN_PATH`, or `token` in `HF_HOME`. */
  readonly accessToken?: string;
  /** Called while a file arrives, and when it is there; not for files that are in the cache. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * The folder that holds a model of the hub, downloaded as far as the cache does not have it: configuration, tokenizer and
 * safetensors, or the configuration alone. When the hub cannot be reached, what the cache has is used.
 *
 * @param name `org/name` or `org/name@revision`
 * @throws TsumikiError NETWORK where the model, the revision or access to it is missing, the connection is broken or a file was
 * changed on its way; ABORTED by the signal
 */
export async function downloadModel(name: string, options: DownloadOptions = {}, wanted: WantedFiles = "model"): Promise<string> {
  const model = parseModelName(name, options.revision);
  if (!model) throw new ArgumentError(`${JSON.stringify(name)} is not the name of a model on the hub: those look like org/name.`);
  const cache = repositoryCache(model.repository, options.cacheFolder);
  const { HF_HUB_OFFLINE = "" } = process.env;
  if (options.offline ?? /^(1|on|yes|true)$/i.test(HF_HUB_OFFLINE))
    return cachedModel(model, cache, wanted, "and the hub is not asked (offline)");
  let listing: Listing;
  try {
    listing = await list(model, options);
  } catch (cause) {
    if (options.signal?.aborted) throw new TsumikiError("ABORTED", `Downloading ${name} was stopped.`, { cause });
    if (cause instanceof TsumikiError) throw cause;
    if (cause instanceof HubApiError) throw refused(model, cause);
    return cachedModel(model, cache, wanted, `and the hub cannot be reached (${reasonOf(cause)})`, cause);
  }
  return fetchFiles(model, listing, cache, options, wanted);
}

interface Listing {
  readonly commit: string;
  readonly files: readonly RemoteFile[];
}

async function list({ repository, revision }: ModelName, options: DownloadOptions): Promise<Listing> {
  const request = { ...access(options), fetch: fetchWith(options.signal) };
  const { sha: commit } = await modelInfo({ name: repository, revision, additionalFields: ["sha"], ...request });
  if (typeof commit !== "string" || !isCommit(commit))
    throw new TsumikiError("NETWORK", `The hub names ${JSON.stringify(commit)} as the commit of ${repository}, which is none.`);
  const files: RemoteFile[] = [];
  for await (const { type, path, size, oid, lfs } of listFiles({ repo: repository, revision: commit, ...request }))
    if (type === "file")
      files.push({
        path,
        size: lfs?.size ?? size,
        ...(lfs ? { sha256: checkedHash(lfs.oid, 64, path) } : { gitHash: checkedHash(oid, 40, path) }),
      });
  return { commit, files };
}

/** The hash becomes a file name in the cache: it must be one. */
function checkedHash(hash: string | undefined, digits: number, path: string): string {
  if (hash !== undefined && hash.length === digits && /^[0-9a-f]+$/.test(hash)) return hash;
  throw new TsumikiError("NETWORK", `The hub gives ${JSON.stringify(hash)} as the hash of ${path}, which is none.`);
}

async function fetchFiles(
  model: ModelName,
  { commit, files }: Listing,
  cache: RepositoryCache,
  options: DownloadOptions,
  wanted: WantedFiles,
): Promise<string> {
  const chosen = files.filter(({ path }) => isWanted(path, wanted));
  if (!chosen.some(({ path }) => path === "config.json"))
    throw new TsumikiError("NETWORK", `${model.repository} has no config.json at ${model.revision}: ${describeFiles(files)}.`);
  const folder = cache.snapshot(commit);
  const totalBytes = chosen.reduce((total, { size }) => total + size, 0);
  let doneBytes = 0;
  for (const file of chosen) {
    const report = (received: number) =>
      options.onProgress?.({ file: file.path, receivedBytes: doneBytes + received, totalBytes });
    const place = join(folder, file.path);
    if ((await sizeOf(place)) !== file.size) {
      const blob = join(cache.blobs, blobName(file));
      if ((await sizeOf(blob)) !== file.size) {
        await transfer(file, blob, {
          ...{ repository: model.repository, commit, onBytes: report },
          ...access(options),
          ...(options.signal ? { signal: options.signal } : {}),
        });
        report(file.size);
      }
      await placeBlob(blob, place);
    }
    doneBytes += file.size;
  }
  // A configuration alone does not take the place of a model that was downloaded at an earlier commit: offline that is still the model.
  if (wanted === "model" || (await cache.commitOf(model.revision)) === undefined)
    await cache.rememberCommit(model.revision, commit);
  return folder;
}

/** What the cache has of a model. Whether its weights are whole, whoever opens them finds out. */
async function cachedModel(
  { repository, revision }: ModelName,
  cache: RepositoryCache,
  wanted: WantedFiles,
  why: string,
  cause?: unknown,
): Promise<string> {
  const commit = await cache.commitOf(revision);
  const folder = commit === undefined ? undefined : cache.snapshot(commit);
  const names = folder === undefined ? [] : await namesIn(folder);
  const complete =
    names.includes("config.json") && (wanted === "configuration" || names.some((name) => name.endsWith(".safetensors")));
  if (folder !== undefined && complete) return folder;
  throw new TsumikiError("NETWORK", `${repository} at ${revision} is not in the cache, ${why}.`, { cause });
}

function access({ hubUrl = process.env.HF_ENDPOINT || "https://huggingface.co", accessToken = keptToken() }: DownloadOptions) {
  if (accessToken && !accessToken.startsWith("hf_"))
    throw new ArgumentError(
      "The access token (HF_TOKEN, or the one that hf auth login keeps) is not one of the hub: those begin with hf_.",
    );
  return { hubUrl: hubUrl.replace(/\/+$/, ""), ...(accessToken ? { accessToken } : {}) };
}

/** Where Python's huggingface_hub looks for it. */
function keptToken(): string | undefined {
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  if (HF_TOKEN || HUGGING_FACE_HUB_TOKEN) return HF_TOKEN || HUGGING_FACE_HUB_TOKEN;
  const home = HF_HOME || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  try {
    return readFileSync(HF_TOKEN_PATH || join(home, "token"), "utf8").trim() || undefined;
  } catch {
    return undefined; // nobody has logged in
  }
}

const fetchWith =
  (signal: AbortSignal | undefined): typeof fetch =>
  (input, init) =>
    fetch(input, signal ? { ...init, signal } : init);

function refused({ repository, revision }: ModelName, cause: HubApiError): TsumikiError {
  const advice =
    cause.statusCode === 401 || cause.statusCode === 403
      ? "It may be private or gated: ask for access on its page and set HF_TOKEN"
      : cause.statusCode === 404
        ? "Check the name and the revision; a private model needs HF_TOKEN"
        : "Try again later";
  return new TsumikiError("NETWORK", `The hub does not give ${repository} at ${revision}: ${cause.message}. ${advice}.`, {
    cause,
  });
}

const reasonOf = (cause: unknown): string => {
  const { message, cause: inner } = cause as Error;
  return inner instanceof Error ? `${message}: ${inner.message}` : message;
};

const describeFiles = (files: readonly RemoteFile[]): string =>
  files.length === 0
    ? "it is empty"
    : `it has ${files
        .slice(0, 8)
        .map(({ path }) => path)
        .join(", ")}${files.length > 8 ? " and more" : ""}`;
