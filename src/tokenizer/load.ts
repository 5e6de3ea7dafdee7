import { readTokenizerFiles } from "#platform/tokenizer/files";
import { withTemplates } from "./chat-templates.js";
import { defaultConfig, type Tokenizer, tokenizerFromJson } from "./tokenizer.js";
import { parseTokenizerJson } from "./tokenizer-json.js";

/**
 * A saved tokenizer: from Tsumiki, or from Python's `tokenizers` and `transformers`. Its `config` has the chat template too, wherever
 * the folder keeps it.
 *
 * @param source a folder with a `tokenizer.json` or the path of such a file; in a page, their address
 * @throws TsumikiError TOKENIZER where there is none or it is not one, NETWORK where a page cannot load it
 */
export async function loadTokenizer(source: string): Promise<Tokenizer> {
  const { json, config = defaultConfig, templates } = await readTokenizerFiles(source);
  return tokenizerFromJson(parseTokenizerJson(json, source), withTemplates(config, templates));
}
