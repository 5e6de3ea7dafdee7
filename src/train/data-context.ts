/** What objectives make their batches of, outside of runs: files or examples that a program gives. */

import { readExamples } from "#platform/data/reading";
import { type RowCorpusName, rowRecipes } from "../data/corpora.js";
import { checkCorpusName, corpus } from "../data/corpus.js";
import type { Example } from "../data/example.js";
import { encodeDocuments } from "../data/tokens/token-documents.js";
import { ArgumentError, TsumikiError } from "../errors.js";
import type { Model } from "../models/model.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { ChosenObjective, DataContext, RowLayout } from "./objective.js";

export interface ContextOptions {
  readonly objective: ChosenObjective;
  readonly model: Model;
  readonly data?: string | readonly string[] | readonly Example[] | undefined;
  readonly tokenizer?: Tokenizer | undefined;
  readonly layout?: Partial<RowLayout> | undefined;
}

/** @throws TsumikiError DATA for files that hold nothing that the objective learns from */
export async function examplesContext({ objective, model, data, tokenizer, layout }: ContextOptions): Promise<DataContext> {
  const { name, accepts } = objective.objective;
  const read = data === undefined ? [] : await examplesOf(data);
  const { contextLength = 512 } = model as Model & { readonly contextLength?: number };
  const context: DataContext = {
    settings: objective.settings,
    model,
    layout: { context: Math.min(contextLength, 512), packing: "windows", validationShare: 0.1, ...layout },
    get tokenizer() {
      if (!tokenizer) throw new ArgumentError(`The objective ${name} needs a tokenizer, but none was given.`);
      return tokenizer;
    },
    async *examples() {
      for await (const example of read) {
        if (!accepts.includes(example.kind))
          throw new TsumikiError(
            "DATA",
            `The data holds examples of the kind "${example.kind}", but ${name} learns from ${accepts.join(", ") || "a corpus"}.`,
          );
        yield example;
      }
    },
    rows: corpusRows,
    async documents() {
      const texts: string[] = [];
      for await (const example of context.examples()) if (example.kind === "text") texts.push(example.text);
      if (texts.length === 0) throw new TsumikiError("DATA", `The objective ${name} needs texts, but there are none.`);
      return encodeDocuments(texts, context.tokenizer);
    },
  };
  return context;
}

async function examplesOf(
  data: string | readonly string[] | readonly Example[],
): Promise<AsyncIterable<Example> | readonly Example[]> {
  if (typeof data === "string") return readExamples(data);
  const [first] = data;
  return typeof first === "string" ? readExamples(data as string[]) : (data as readonly Example[]);
}

/** @throws TsumikiError ARGUMENT for a corpus that is not known */
export async function* corpusRows<T>(name: string, split: "train" | "validation"): AsyncGenerator<T> {
  checkCorpusName(name);
  if (!Object.hasOwn(rowRecipes, name)) throw new ArgumentError(`The corpus ${name} is one text and has no rows.`);
  yield* (await corpus(name as RowCorpusName, { split })) as readonly T[];
}
