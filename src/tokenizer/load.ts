import { readTokenizerFiles } from "#platform/tokenizer/files";
import { withTemplates } from "./chat-templates.js";
import { withNamedTokens, withSpecialTokensMap } from "./named-tokens.js";
import { defaultConfig, type Tokenizer, tokenizerFromJson } from "./tokenizer.js";
import { parseTokenizerJson } from "./tokenizer-json.js";

/**
 * A saved tokenizer: from Tsumiki, or from Python's `tokenizers` and `transformers`. Its `config` has the chat template and the names of
 * special tokens too, wherever the folder keeps them.
 *
 * @param source a folder with a `tokenizer.json` or the path of such a file; in a page, their address
 * @throws TsumikiError TOKENIZER where there is none or it is not one, NETWORK where a page cannot load it
 */
export async function loadTokenizer(source: string): Promise<Tokenizer> {
  const { json, config: own = defaultConfig, templates, beside } = await readTokenizerFiles(source);
  const config = withSpecialTokensMap(own, beside);
  return tokenizerFromJson(withNamedTokens(parseTokenizerJson(json, source), config, beside), withTemplates(config, templates));
}
