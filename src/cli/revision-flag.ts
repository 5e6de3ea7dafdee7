/** What every command has that takes a model by its name on the hub; `org/name@revision` says the same. */
export const revisionFlag = ["--revision <name>", "branch, tag or commit of a model on the hub (default: main)"] as const;
