/** The names of classes in a `config.json`. */

import * as z from "zod";
import { count } from "./entries.js";

export const classLabels = {
  id2label: z.record(z.string(), z.string()).nullish(),
  label2id: z.record(z.string(), z.int()).nullish(),
  num_labels: count.nullish(),
};

export const labelEntries = {
  /** In the order of the logits; `LABEL_0`, ... where they have no names, two of them where nothing is said (as in transformers). */
  read({
    id2label,
    num_labels,
  }: {
    readonly id2label: Readonly<Record<string, string>> | null | undefined;
    readonly num_labels: number | null | undefined;
  }): readonly string[] {
    const size = id2label ? Object.keys(id2label).length : (num_labels ?? 2);
    return Array.from({ length: size }, (_, id) => id2label?.[id] ?? `LABEL_${id}`);
  },
  write: (labels: readonly string[]) => ({
    id2label: Object.fromEntries(labels.map((label, id) => [String(id), label])),
    label2id: Object.fromEntries(labels.map((label, id) => [label, id])),
  }),
};
