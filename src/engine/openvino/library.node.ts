/** The one OpenVINO of this thread: found, looked at, loaded. */

import { dirname, join } from "node:path";
import { TsumikiError } from "../../errors.js";
import { input } from "../../graph/leaves.js";
import { writeOnnx } from "../../onnx/writer.js";
import { type Handle, loadOpenVino, type OpenVino } from "./c-api.js";
import { chosenFolder, installations, libraryIn, type Place } from "./locate.node.js";

export interface FoundOpenVino {
  readonly library: OpenVino;
  /** Shared by all engines of the thread. */
  readonly core: Handle;
  /** `2026.4.1` */
  readonly version: string;
  /** `2026.4.1-22982-e213a147257-releases/2026/4` */
  readonly build: string;
  /** The path of the C library. */
  readonly path: string;
  /** For people: where it was found. */
  readonly origin: string;
}

/** Numbers of element types, names of properties and functions are those of this year's releases. */
const majorVersion = 2026;

const howToInstall =
  `Install it with \`pip install openvino\` (a virtual environment on the path will do), \`brew install openvino\`, or from ` +
  `https://docs.openvino.ai/install; or set TSUMIKI_OPENVINO to the folder of libopenvino_c.`;

let found: Promise<FoundOpenVino> | undefined;

/**
 * OpenVINO as it is installed here; the same each time. Throws ENGINE_ABSENT where there is none, ENGINE where the folder that
 * TSUMIKI_OPENVINO names does not hold one that can be used.
 */
export function findOpenVino(): Promise<FoundOpenVino> {
  found ??= find();
  found.catch(() => {
    found = undefined; // it may be installed by the next time
  });
  return found;
}

async function find(): Promise<FoundOpenVino> {
  await checkKoffi();
  const folder = chosenFolder();
  if (folder !== undefined) return openChosen(folder);
  const problems: string[] = [];
  for (const place of installations())
    try {
      return await open(place);
    } catch (error) {
      problems.push((error as Error).message);
    }
  const reason = problems.length ? `OpenVINO cannot be used.\n${problems.join("\n")}` : "OpenVINO was not found.";
  throw new TsumikiError("ENGINE_ABSENT", `${reason}\n${howToInstall}`);
}

async function checkKoffi(): Promise<void> {
  try {
    await import("koffi");
  } catch (error) {
    throw new TsumikiError(
      "ENGINE_ABSENT",
      `OpenVINO is called through the package koffi, which could not be loaded: ${(error as Error).message}\nInstall it with \`npm install koffi\`.`,
      { cause: error },
    );
  }
}

async function openChosen(folder: string): Promise<FoundOpenVino> {
  const path = libraryIn(folder);
  if (path !== undefined) return open({ path, origin: "TSUMIKI_OPENVINO" });
  throw new TsumikiError(
    "ENGINE",
    `TSUMIKI_OPENVINO is ${folder}, but OpenVINO's C library is not there, nor in a folder below where installations have it. ` +
      `Set it to the folder of libopenvino_c, for example .../site-packages/openvino/libs of a Python with \`pip install openvino\`.`,
  );
}

/** Loads a library and makes sure that it can do what is asked of it: anything missing is missed here, not later. */
async function open({ path, origin }: Place): Promise<FoundOpenVino> {
  const refused = (reason: string, cause?: unknown) =>
    new TsumikiError("ENGINE", `OpenVINO at ${path} (${origin}) ${reason}`, { cause });
  makeNeighboursFindable(path);
  let library: OpenVino;
  try {
    library = await loadOpenVino(path);
  } catch (error) {
    throw refused(`could not be loaded on ${process.platform} ${process.arch}: ${(error as Error).message}`, error);
  }
  const build = library.version();
  const version = /^\d+\.\d+(\.\d+)?/.exec(build)?.[0] ?? build;
  if (Number.parseInt(version, 10) !== majorVersion)
    throw refused(`is version ${version}, but ${majorVersion} is needed: \`pip install "openvino==${majorVersion}.*"\`.`);
  library.declareFunctions();
  const core = library.createCore();
  try {
    library.property(core, "CPU", "FULL_DEVICE_NAME");
  } catch (error) {
    library.freeCore(core);
    throw refused(`has no CPU plugin beside it that works (libopenvino_intel_cpu_plugin): ${(error as Error).message}`, error);
  }
  try {
    library.freeModel(await library.readModel(core, smallestModel()));
  } catch (error) {
    library.freeCore(core);
    throw refused(`has no ONNX frontend beside it that works (libopenvino_onnx_frontend): ${(error as Error).message}`, error);
  }
  return { library, core, version, build, path, origin };
}

function smallestModel(): Uint8Array {
  const x = input("x", "float32", [1]);
  return writeOnnx({ inputs: new Map([["x", x]]), outputs: new Map([["y", x]]) });
}

/** On Windows the library finds its threads (tbb12.dll) by the path; in the archives they lie in a folder of their own. */
function makeNeighboursFindable(path: string): void {
  if (process.platform !== "win32") return;
  const folders = [dirname(path), join(dirname(path), "../../../3rdparty/tbb/bin")];
  const known = process.env.PATH ?? "";
  process.env.PATH = [...folders.filter((folder) => !known.includes(folder)), known].join(";");
}
