/** What models with a head over a backbone have in common. */

import type { MatchOptions } from "../../checkpoint/variable-match.js";
import { Model } from "../model.js";

/** A model that heads can be put on. */
export type Backbone = Model & {
  /** The model's name in a checkpoint with a head: `bert` in `bert.embeddings.word_embeddings.weight`. */
  readonly prefix: string;
};

export abstract class Head<B extends Backbone> extends Model {
  readonly backbone: B;

  constructor(backbone: B) {
    super();
    this.backbone = backbone;
  }

  get modelType(): string {
    return this.backbone.modelType;
  }

  checkpointPath(path: string): string {
    const [first, ...rest] = path.split(".");
    return first === "backbone" ? `${this.backbone.prefix}.${this.backbone.checkpointPath(rest.join("."))}` : this.headPath(path);
  }

  /** The name of one of the head's own parameters in a checkpoint. */
  protected headPath(path: string): string {
    return path;
  }

  override get checkpointMatch(): MatchOptions {
    return this.backbone.checkpointMatch;
  }
}
