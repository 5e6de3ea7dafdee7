/** What a row of data means, whatever format it came in. */

import type { Conversation, Message } from "../chat/conversation.js";

/** A text to continue: pretraining. */
export interface TextExample {
  readonly kind: "text";
  readonly text: string;
  /** Whether the next example goes on with this document, which was too long to be read in one piece. */
  readonly continues?: boolean;
}

/** A conversation whose assistant is to be imitated. */
export interface ConversationExample extends Conversation {
  readonly kind: "conversation";
}

/** Two continuations of one conversation, of which one is preferred. */
export interface PreferenceExample {
  readonly kind: "preference";
  readonly prompt: readonly Message[];
  readonly chosen: readonly Message[];
  readonly rejected: readonly Message[];
}

/** A conversation, and whether what the assistant says in it at the end is good (Ethayarajh et al. 2024, "KTO"). */
export interface RatedExample extends Conversation {
  readonly kind: "rated";
  readonly label: boolean;
}

/** A text, or two, and the class it belongs to. */
export interface ClassificationExample {
  readonly kind: "classification";
  readonly text: string;
  readonly secondText?: string;
  readonly label: string | number;
}

/** Words and a label for each. */
export interface TokenLabelExample {
  readonly kind: "token-labels";
  readonly tokens: readonly string[];
  readonly labels: readonly (string | number)[];
}

export type Example =
  | TextExample
  | ConversationExample
  | PreferenceExample
  | RatedExample
  | ClassificationExample
  | TokenLabelExample;
export type ExampleKind = Example["kind"];

/** All text of an example, for filters and counts. */
export function textOf(example: Example): string {
  const contents = (messages: readonly Message[]) =>
    messages.flatMap(({ reasoning_content, content }) => [
      ...(reasoning_content ? [reasoning_content] : []),
      ...(typeof content === "string" ? [content] : (content ?? []).flatMap(({ text }) => text ?? [])),
    ]);
  switch (example.kind) {
    case "text":
      return example.text;
    case "conversation":
    case "rated":
      return contents(example.messages).join("\n");
    case "preference":
      return contents([...example.prompt, ...example.chosen, ...example.rejected]).join("\n");
    case "classification":
      return example.secondText === undefined ? example.text : `${example.text}\n${example.secondText}`;
    case "token-labels":
      return example.tokens.join(" ");
  }
}
