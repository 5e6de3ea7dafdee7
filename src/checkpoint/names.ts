/**
 * Property paths of modules and the names of Hugging Face checkpoints: `layers.3.selfAttn.qProj.weight` is
 * `layers.3.self_attn.q_proj.weight`. Each segment between dots is converted by itself, in TypeScript's direction and in
 * Python's:
 *
 * | in the property | in the checkpoint | for example |
 * |---|---|---|
 * | a capital | `_` and the small letter | `qProj` ↔ `q_proj`, `cFc` ↔ `c_fc`, `lnF` ↔ `ln_f` |
 * | a digit right after a letter | `_` and the digit | `ln1` ↔ `ln_1`, `wi0` ↔ `wi_0`, `h.0.ln12` ↔ `h.0.ln_12` |
 * | `$` and a character | that character, with no `_` | `fc$1` ↔ `fc1`, `layerNorm$2` ↔ `layer_norm2`, `$Layer$Norm` ↔ `LayerNorm` |
 * | anything else | itself | `denseHTo4h` ↔ `dense_h_to_4h`, `weight`, `_extra` |
 *
 * A digit needs the rule because both spellings occur (GPT-2 says `ln_1`, CLIP says `fc1`); the plain field goes to the one with
 * `_`, and `$` says the other. With `$` every checkpoint name has a property path, and one only:
 * `toCheckpointName(toPropertyPath(name))` is `name`.
 *
 * What it cannot express: two properties can ask for one name when one of them is written in another way than `toPropertyPath`
 * would write it (`fc_1` beside `fc1`, `Embed` beside `_embed`); the checkpoint writer refuses such a pair, since a name may
 * occur once. And a dot always separates properties.
 */

/** The name in a checkpoint of the parameter at a property path. */
export const toCheckpointName = (propertyPath: string): string => propertyPath.split(".").map(toSnakeCase).join(".");

/** The property path at which a model keeps the parameter of this name in a checkpoint. */
export const toPropertyPath = (checkpointName: string): string => checkpointName.split(".").map(toCamelCase).join(".");

const toSnakeCase = (property: string): string =>
  property.replace(/\$(.)|(?<=[A-Za-z])\d|[A-Z]/gsu, (match, literal?: string) => literal ?? `_${match.toLowerCase()}`);

/**
 * `_` joins what follows where `toSnakeCase` would separate it again: before a small letter, and between a letter and a digit.
 * The first character of a name stays what it is (`_extra`), and what would be taken apart without need is marked by `$`.
 */
const toCamelCase = (name: string): string =>
  name.replace(/(?<!^)_([a-z])|(?<=[A-Za-z])_(\d)|(?<=[A-Za-z])\d|[A-Z]|\$/gu, (match, letter?: string, digit?: string) =>
    letter !== undefined ? letter.toUpperCase() : (digit ?? `$${match}`),
  );
