/** A server that speaks as much of the Hugging Face hub's protocol as a download needs, with the mishaps that a network has. */

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HubServer extends AsyncDisposable {
  readonly url: string;
  /** What was asked for: method, path without query, and the range if there was one. */
  readonly requests: string[];
  /** Content by path, of the only repository; files named here as `large` have a SHA-256, the others git's hash. */
  readonly files: Map<string, Uint8Array>;
  readonly large: Set<string>;
  commit: string;
  /** When set, only who brings it is let in. */
  token: string | undefined;
  /** How many bytes of a body are sent before the connection breaks; once for each entry. */
  readonly breaks: number[];
  /** Paths whose content is changed on its way. */
  readonly tampered: Set<string>;
}

export async function hubServer(repository: string): Promise<HubServer> {
  const server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const hub: HubServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ requests: [], files: new Map(), large: new Set(), breaks: [], tampered: new Set(), token: undefined },
    commit: "0123456789abcdef0123456789abcdef01234567",
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };

  function answer(request: IncomingMessage, response: ServerResponse): unknown {
    const { pathname } = new URL(request.url ?? "/", hub.url);
    const range = request.headers.range;
    hub.requests.push(`${request.method} ${pathname}${range ? ` ${range}` : ""}`);
    if (hub.token !== undefined && request.headers.authorization !== `Bearer ${hub.token}`)
      return json(response, 401, { error: "Invalid username or password." });
    const revisions = [hub.commit, "main", "v1"];
    const [, revision] = new RegExp(`^/api/models/${repository}/revision/([^/]+)$`).exec(pathname) ?? [];
    if (revision !== undefined)
      return revisions.includes(revision)
        ? json(response, 200, { _id: "1", id: repository, sha: hub.commit, lastModified: new Date(0).toISOString() })
        : json(response, 404, { error: `Invalid rev id: ${revision}` });
    if (pathname === `/api/models/${repository}/tree/${hub.commit}`) return json(response, 200, [...hub.files].map(treeEntry));
    const [, path] = new RegExp(`^/${repository}/resolve/${hub.commit}/(.+)$`).exec(pathname) ?? [];
    const content = path === undefined ? undefined : hub.files.get(path);
    if (path === undefined || content === undefined) return json(response, 404, { error: "Repository not found" });
    return send(response, path, hub.tampered.has(path) ? content.map((byte) => byte ^ 1) : content, range);
  }

  const treeEntry = ([path, content]: readonly [string, Uint8Array]) => {
    const entry = { type: "file", path, size: content.length, oid: gitHash(content) };
    if (!hub.large.has(path)) return entry;
    return { ...entry, lfs: { oid: createHash("sha256").update(content).digest("hex"), size: content.length, pointerSize: 130 } };
  };

  function send(response: ServerResponse, path: string, content: Uint8Array, range: string | undefined): void {
    const [, start = "0", end = String(content.length - 1)] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    const body = content.subarray(Number(start), Number(end) + 1);
    const headers = { ETag: `"${gitHash(content)}"`, "Content-Length": body.length };
    if (range) response.writeHead(206, { ...headers, "Content-Range": `bytes ${start}-${end}/${content.length}` });
    else response.writeHead(200, headers);
    // The first byte alone is what a client asks for to learn the size.
    const breaksAfter = body.length > 1 && hub.large.has(path) ? hub.breaks.shift() : undefined;
    if (breaksAfter === undefined) response.end(body);
    else response.write(body.subarray(0, breaksAfter), () => setTimeout(() => response.destroy(), 20));
  }
  return hub;
}

const gitHash = (content: Uint8Array): string =>
  createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
}
