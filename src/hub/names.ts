/** Names of models on the hub, and what of a repository is fetched. */

import { ArgumentError } from "../errors.js";

export interface ModelName {
  /** `org/name` */
  readonly repository: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

const namePattern = /^([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?$/;

/** `org/name` or `org/name@revision`; undefined where the text is neither. A revision given besides must be the same. */
export function parseModelName(text: string, revision?: string): ModelName | undefined {
  const [, repository, named] = namePattern.exec(text) ?? [];
  if (repository === undefined || repository.split("/").some((part) => /^\.+$/.test(part))) return undefined;
  if (named !== undefined && revision !== undefined && named !== revision)
    throw new ArgumentError(`${text} names the revision ${named}, but ${revision} was asked for.`);
  const chosen = named ?? revision ?? "main";
  if (chosen.split("/").some((part) => part === "" || /^\.+$/.test(part)))
    throw new ArgumentError(`${JSON.stringify(chosen)} is not a branch, a tag or a commit.`);
  return { repository, revision: chosen };
}

const configurationFile = /^(config|generation_config)\.json$/;
const modelFile =
  /^(config\.json|generation_config\.json|(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json|merges\.txt|chat_template\.(jinja|json)|additional_chat_templates\/[\w-]+\.jinja|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json)$/;

export type WantedFiles = "model" | "configuration";

/** Whether a file of a repository belongs to what is asked for. Other formats of the weights never do. */
export const isWanted = (path: string, wanted: WantedFiles): boolean =>
  (wanted === "configuration" ? configurationFile : modelFile).test(path);
