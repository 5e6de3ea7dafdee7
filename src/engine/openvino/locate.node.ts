/** Where OpenVINO may be installed: folders that are looked into for its C library, the most deliberate choice first. */

import { execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";

/** A C library of OpenVINO that was found. */
export interface Place {
  /** Of the library. */
  readonly path: string;
  /** For people: `TSUMIKI_OPENVINO`, `the openvino package of python3`, ... */
  readonly origin: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `libopenvino_c.so`, `libopenvino_c.so.2641`, `libopenvino_c.2641.dylib`, `openvino_c.dll` */
const libraryNames: Partial<Readonly<Record<NodeJS.Platform, RegExp>>> = {
  darwin: /^libopenvino_c(\.[\d.]+)?\.dylib$/,
  win32: /^openvino_c\.dll$/i,
};
const libraryName = libraryNames[process.platform] ?? /^libopenvino_c\.so(\.[\d.]+)?$/;

/**
 * Below the folder of an installation: the wheel's package, or the folder of `openvino-node`; the archives of Intel; a conda
 * environment or Homebrew.
 */
const subfolders: readonly string[] = [
  ".",
  "libs",
  "openvino/libs",
  "bin",
  "lib",
  "Library/bin",
  ...["intel64", "arm64", "aarch64"].flatMap((machine) =>
    ["runtime/lib", "runtime/bin", "lib", "bin"].flatMap((folder) => [`${folder}/${machine}`, `${folder}/${machine}/Release`]),
  ),
];

/** The C library in a folder or where installations have it below; `undefined` when there is none. */
export function libraryIn(folder: string): string | undefined {
  for (const subfolder of subfolders) {
    const inside = join(folder, subfolder);
    const [name] = namesIn(inside)
      .filter((name) => libraryName.test(name))
      .sort((a, b) => a.length - b.length); // the plain name is a link to the current one
    if (name !== undefined) return join(inside, name);
  }
  return undefined;
}

/** The folder that the user has chosen. */
export const chosenFolder = (environment: Environment = process.env): string | undefined =>
  environment.TSUMIKI_OPENVINO || undefined;

/** Installations that nobody has chosen, in the order in which they are tried; each is looked for when it is its turn. */
export function* installations(environment: Environment = process.env): Generator<Place> {
  const seen = new Set<string>();
  for (const { origin, folders } of sources(environment))
    for (const folder of folders()) {
      const path = folder === undefined ? undefined : libraryIn(folder);
      if (path === undefined || seen.has(path)) continue;
      seen.add(path);
      yield { path, origin };
    }
}

interface Source {
  readonly origin: string;
  folders(): readonly (string | undefined)[];
}

const sources = (environment: Environment): readonly Source[] => [
  { origin: "openvino-node", folders: () => [nodePackage(join(process.cwd(), "x.js")), nodePackage(import.meta.url)] },
  { origin: "the system's libraries", folders: () => systemFolders(environment) },
  ...["python3", "python"].map((command) => ({
    origin: `the openvino package of ${command}`,
    folders: () => [pythonPackage(command)],
  })),
];

/** The folder of the package openvino-node, as seen from a module. */
function nodePackage(from: string): string | undefined {
  try {
    return dirname(createRequire(from).resolve("openvino-node/package.json"));
  } catch {
    return undefined;
  }
}

/** Where the system's loader looks, and where packages of distributions, Homebrew and Intel put themselves. */
function systemFolders(environment: Environment): readonly (string | undefined)[] {
  const listed = (name: string) => (environment[name] ?? "").split(delimiter).filter(Boolean);
  const set = environment.INTEL_OPENVINO_DIR; // what the archives' setupvars sets
  if (process.platform === "win32") return [set, ...listed("PATH"), "C:\\Program Files (x86)\\Intel\\openvino_2026"];
  if (process.platform === "darwin")
    return [set, ...listed("DYLD_LIBRARY_PATH"), "/opt/homebrew/lib", "/usr/local/lib", "/opt/intel/openvino_2026"];
  return [
    set,
    ...listed("LD_LIBRARY_PATH"),
    ...loaderFolders(),
    "/usr/local/lib",
    "/home/linuxbrew/.linuxbrew/lib",
    "/opt/intel/openvino_2026",
    "/opt/intel/openvino",
  ];
}

/** Folders in which Linux' loader has found the library. */
function loaderFolders(): readonly string[] {
  const listing = outputOf("/sbin/ldconfig", ["-p"]) ?? "";
  return [...listing.matchAll(/^\s*libopenvino_c\.so.* => (.+)$/gm)].map(([, path]) => dirname(path as string));
}

/** The folder of Python's openvino package. It is not imported, which would take a second. */
function pythonPackage(command: string): string | undefined {
  const program = "import importlib.util; spec = importlib.util.find_spec('openvino'); print(spec.origin if spec else '')";
  const origin = outputOf(command, ["-c", program])?.trim();
  return origin ? dirname(origin) : undefined;
}

/** What a program prints; `undefined` when it is not there or fails. */
function outputOf(command: string, parameters: readonly string[]): string | undefined {
  try {
    return execFileSync(command, parameters, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 10_000,
      windowsHide: true,
    });
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): readonly string[] {
  try {
    return statSync(folder).isDirectory() ? readdirSync(folder) : [];
  } catch {
    return [];
  }
}
