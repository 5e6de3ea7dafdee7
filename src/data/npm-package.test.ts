import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "tar";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { npmPackageFiles, type PackageVersion } from "./npm-package.js";

/** A registry with one package, @toys/blocks, whose tarball each test serves in its own way. */
let server: Server;
let registry: string;
let tarball: Buffer;
let wanted: PackageVersion;
let serveTarball: (request: IncomingMessage, response: ServerResponse) => void;
let requests: IncomingMessage[];
let fixtures: string;
let folder: string;

const integrityOf = (bytes: Uint8Array) => `sha512-${createHash("sha512").update(bytes).digest("base64")}`;

beforeAll(async () => {
  fixtures = await mkdtemp(join(tmpdir(), "tsumiki-registry-"));
  await mkdir(join(fixtures, "package", "data"), { recursive: true });
  await writeFile(join(fixtures, "package", "package.json"), '{"name":"@toys/blocks","version":"1.0.0"}');
  await writeFile(join(fixtures, "package", "data", "small.txt"), "a block");
  await writeFile(join(fixtures, "package", "data", "large.bin"), randomBytes(3_000_000));
  await create({ gzip: true, file: join(fixtures, "blocks.tgz"), cwd: fixtures }, ["package"]);
  tarball = await readFile(join(fixtures, "blocks.tgz"));
  wanted = { package: "@toys/blocks", version: "1.0.0", integrity: integrityOf(tarball), packageBytes: tarball.length };
  server = createServer((request, response) => {
    if (request.url === "/blocks.tgz") {
      requests.push(request);
      serveTarball(request, response);
    } else if (decodeURIComponent(request.url ?? "") === "/@toys/blocks") {
      const shasum = createHash("sha1").update(tarball).digest("hex");
      const dist = { tarball: `${registry}/blocks.tgz`, integrity: wanted.integrity, shasum };
      const versions = { "1.0.0": { name: "@toys/blocks", version: "1.0.0", dist } };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ name: "@toys/blocks", "dist-tags": { latest: "1.0.0" }, versions }));
    } else response.writeHead(404).end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  registry = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await rm(fixtures, { recursive: true });
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tsumiki-downloads-"));
  requests = [];
  serveTarball = serveWhole;
  for (const name of ["npm_config_registry", "npm_config_@toys:registry"]) vi.stubEnv(name, registry);
  vi.stubEnv("npm_config_cache", join(fixtures, "npm-cache"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const serveWhole = (request: IncomingMessage, response: ServerResponse): void => {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  response.writeHead(start > 0 ? 206 : 200, { "content-length": tarball.length - start }).end(tarball.subarray(start));
};

/** Sends so many bytes of what was asked for and then drops the connection. */
const serveBroken = (bytes: number) => (request: IncomingMessage, response: ServerResponse) => {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  response.writeHead(start > 0 ? 206 : 200, { "content-length": tarball.length - start });
  response.write(tarball.subarray(start, start + bytes), () => setTimeout(() => response.destroy(), 50));
};

const read = (options = {}) => npmPackageFiles(wanted, (path) => path.startsWith("data/"), { folder, ...options });

describe("npmPackageFiles", () => {
  it("gives the files that are wanted, and leaves nothing behind", async () => {
    const loaded: number[] = [];
    const files = await read({
      onProgress: (progress: { loaded: number; total: number }) => loaded.push(progress.loaded / progress.total),
    });
    expect([...files.keys()].sort()).toEqual(["data/large.bin", "data/small.txt"]);
    expect(Buffer.from(files.get("data/small.txt") as Uint8Array).toString()).toBe("a block");
    expect(
      Buffer.from(files.get("data/large.bin") as Uint8Array).equals(await readFile(join(fixtures, "package/data/large.bin"))),
    ).toBe(true);
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
    expect(loaded.at(-1)).toBe(1);
    expect(await readdir(folder)).toEqual([]);
  });

  it("goes on in the same call when a connection is lost", async () => {
    serveTarball = serveBroken(1_000_000);
    expect((await read()).size).toBe(2);
    expect(requests.map(({ headers }) => headers.range === undefined)).toEqual([true, ...requests.slice(1).map(() => false)]);
    expect(requests.length).toBeGreaterThan(2);
  });

  it("keeps what has arrived, and the next call asks for the rest", async () => {
    const stopped = new AbortController();
    serveTarball = (_, response) => {
      response.writeHead(200, { "content-length": tarball.length });
      response.write(tarball.subarray(0, 1_500_000), () => setTimeout(() => stopped.abort(), 100));
    };
    await expect(read({ signal: stopped.signal })).rejects.toMatchObject({ code: "ABORTED" });
    const [part] = await readdir(folder);
    expect((await readFile(join(folder, part as string))).equals(tarball.subarray(0, 1_500_000))).toBe(true);
    serveTarball = serveWhole;
    expect((await read()).size).toBe(2);
    expect(requests.at(-1)?.headers.range).toBe("bytes=1500000-");
    expect(await readdir(folder)).toEqual([]);
  });

  it("takes over what a process that was killed has left, and not what another one is loading", async () => {
    const noProcess = 2 ** 30;
    await writeFile(join(folder, `@toys+blocks-1.0.0.${noProcess}.part`), tarball.subarray(0, 2_000_000));
    await writeFile(join(folder, `@toys+blocks-1.0.0.${process.ppid}.part`), "another's");
    expect((await read()).size).toBe(2);
    expect(requests[0]?.headers.range).toBe("bytes=2000000-");
    expect(await readdir(folder)).toEqual([`@toys+blocks-1.0.0.${process.ppid}.part`]);
  });

  it("starts anew where a server does not give parts", async () => {
    await writeFile(join(folder, `@toys+blocks-1.0.0.${process.pid}.part`), "x".repeat(1000));
    serveTarball = (_, response) => void response.writeHead(200).end(tarball);
    expect((await read()).size).toBe(2);
  });

  it("refuses a tarball that is not the pinned one, and keeps nothing of it", async () => {
    const other = Buffer.from(tarball);
    other[1000] = (other[1000] as number) ^ 1;
    serveTarball = (_, response) => void response.writeHead(200).end(other);
    await expect(read()).rejects.toMatchObject({
      code: "NETWORK",
      message: expect.stringContaining(`its integrity is ${integrityOf(other)}, not ${wanted.integrity}`),
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it("leaves registries that only npm may read to npm", async () => {
    vi.stubEnv(`npm_config_//${registry.replace("http://", "")}/:_authToken`, "secret");
    serveTarball = (request, response) => {
      if (request.headers.authorization === "Bearer secret") serveWhole(request, response);
      else response.writeHead(401).end();
    };
    expect((await read()).size).toBe(2);
    expect(await readdir(folder)).toEqual([]);
  });

  it("says what npm says of a package that is not there", async () => {
    const absent = { ...wanted, package: "@toys/absent" };
    await expect(npmPackageFiles(absent, () => true, { folder })).rejects.toMatchObject({
      code: "NETWORK",
      message: expect.stringMatching(/npm could not fetch @toys\/absent@1\.0\.0[\s\S]*404/),
    });
  });

  it("loads one package once at a time", async () => {
    let open = 0;
    serveTarball = (request, response) => {
      expect(++open).toBe(1);
      response.on("finish", () => open--);
      setTimeout(() => serveWhole(request, response), 50);
    };
    const [first, second] = await Promise.all([read(), read()]);
    expect([first?.size, second?.size]).toEqual([2, 2]);
  });
});
