/** docs/models.md: written by architectures.test.ts (`npx vitest run src/models/architectures.test.ts -u`). */

export const modelsDocument = (rows: readonly string[]): string => `# Models

Decoder-only language models, each a file in [src/models](../src/models) that reads like its paper, built of the blocks in
[src/nn](../src/nn). \`loadModel(directory)\` makes the model that a Hugging Face directory's \`config.json\` describes, and
\`saveModel(model, directory)\` writes one that Python's transformers opens. [How to add one](add-a-model.md).

| \`model_type\` | in transformers | cases | loads | saves | logits | gradients |
|---|---|---|---|---|---|---|
${rows.join("\n")}

This table is written by a test run. Each case is a tiny model with many features switched on: biases, tied and untied outputs,
fewer key heads than query heads, padding at both ends, contexts past the window and past the original reach of scaled positions.

- *loads*: a directory as transformers 5.23 writes it is loaded, and has these tensors and no other.
- *saves*: a directory saved here was opened by transformers with no key missing or unexpected, and computed the same logits.
- *logits*: equal to those of PyTorch within 10⁻⁴.
- *gradients*: of the training loss (with experts, what balances them included) with respect to every parameter, equal to
  PyTorch's value by value, within 10⁻⁴ of the largest of the parameter.

Logits and gradients are compared on ONNX Runtime, and on OpenVINO where it is installed.

transformers has no MiniMind: its cases are compared with a PyTorch model written for that
([reference/decoders_minimind.py](../reference/decoders_minimind.py)); the directories have the names and entries of its own.

## One class, many members

| class | \`model_type\` | what its members change |
|---|---|---|
| [\`Llama\`](../src/models/decoders/llama.ts) | \`llama\`, \`mistral\`, \`qwen2\`, \`qwen3\`, \`smollm3\`, \`mixtral\`, \`qwen3_moe\`, \`minimind\` | windows, biases, normalized queries and keys, layers without positions, experts |
| [\`Gemma\`](../src/models/decoders/gemma.ts) | \`gemma2\`, \`gemma3_text\` | soft caps, or normalized queries and keys and wavelengths for window layers |
| [\`Cohere\`](../src/models/decoders/cohere.ts) | \`cohere\`, \`cohere2\` | normalized queries and keys, or windows with positions between layers without |
| [\`Olmo2\`](../src/models/decoders/olmo2.ts) | \`olmo2\` | |
| [\`Phi\`](../src/models/decoders/phi.ts) | \`phi\` (1, 1.5, 2) | |
| [\`Phi3\`](../src/models/decoders/phi3.ts) | \`phi3\` (Phi 3 and 4) | |
| [\`GPT2\`](../src/models/decoders/gpt2.ts) | \`gpt2\` | |
| [\`GPTJ\`](../src/models/decoders/gptj.ts) | \`gptj\` | |
| [\`GPTNeoX\`](../src/models/decoders/gpt-neox.ts) | \`gpt_neox\` (Pythia) | blocks side by side or one after the other |
| [\`Bloom\`](../src/models/decoders/bloom.ts) | \`bloom\` | |

[Recurrent networks](recurrent.md) have a page of their own.

## Encoders, vision models, and heads

A model is of a *kind*: what it reads and makes. \`loadModel(directory, { kind })\` is typed by it; without \`kind\` a directory is what its
\`config.json\` names. \`tsumiki inspect\` and \`tsumiki logits\` serve every kind ([design.md](design.md) shows how to add one).

| class | \`model_type\` | kind | in transformers |
|---|---|---|---|
| [\`Bert\`](../src/models/encoders/bert.ts) | \`bert\` | \`encoder\` | \`BertModel\` |
| [\`MaskedLM\`](../src/models/heads/masked-lm.ts) over it | \`bert\` | \`masked-lm\` | \`BertForMaskedLM\` |
| [\`SequenceClassifier\`](../src/models/heads/sequence-classifier.ts) over it | \`bert\` | \`sequence-classifier\` | \`BertForSequenceClassification\` |
| [\`ViT\`](../src/models/vision/vit.ts) | \`vit\` | \`vision\` | \`ViTModel\` |
| [\`ImageClassifier\`](../src/models/heads/image-classifier.ts) over it | \`vit\` | \`image-classifier\` | \`ViTForImageClassification\` |

Directories of each load and save under the names and entries that transformers 5.24 writes; outputs and the gradients of every parameter
equal PyTorch's within 10⁻⁴ ([reference/models.py](../reference/models.py)). The real all-MiniLM-L6-v2 gives Python's sentence vectors
within 2 · 10⁻⁶.

## Training them

Any of them trains with the recipe's \`model\` section, or the flags of \`tsumiki train\`:

| | in a recipe | in the command line |
|---|---|---|
| new weights, sizes as in a \`config.json\` | \`{ "architecture": "config", "config": { "model_type": "qwen3", ... } }\` | \`--config config.json\` |
| weights that are there: a directory, a run, a GGUF file, \`org/name\` | \`{ "architecture": "saved", "source": "my-llama" }\` | \`--from my-llama\` |
| GPT-2 or Llama in a few words | \`{ "architecture": "llama", "hiddenSize": 256, ... }\` | \`--set model.hiddenSize=256\` |

With new weights the vocabulary is the tokenizer's, whatever the \`config.json\` says. An existing model brings its tokenizer, and
learns at the gentler rate of the preset \`further\` unless the recipe says otherwise; the run keeps all of it and needs the source no more
once it has its first checkpoint.

In training, \`model.loss(ids, labels, { zLoss: 1e-4 })\` adds the z-loss, (log Σ exp(logits))², which keeps logits from drifting: in a
recipe \`objective.zLoss\`, in the command line \`--z-loss 1e-4\`. What is added to the cross-entropy, this and what balances experts, is
reported apart from it: \`model.losses\` gives both, and steps tell \`auxiliaryLoss\` beside \`loss\`.

A \`Llama\` made with settings that no \`model_type\` has together is refused when it is made: it could not be saved. Which
member has which settings is listed in [llama-options.ts](../src/models/decoders/llama-options.ts).

## Contexts longer than the original

\`rope_scaling\` (or \`rope_parameters\`) may be \`linear\`, \`dynamic\` (NTK), \`yarn\`, \`longrope\` or \`llama3\`; what else transformers
knows (\`proportional\`, \`axial\`, of models that are not supported) is refused. With \`dynamic\` and \`longrope\` the wavelengths depend on
the length at hand; keys that are already in a cache keep the rotation they had.

## Experts

A token goes through the experts that its router chose, and only those are computed: each expert gets as many rows as chose it,
and no token is dropped. In training the loss includes the load-balancing loss with the weight that the configuration gives it; it
is that of transformers, without padding: of all layers together, for MiniMind of each layer. MiniMind 2 counts shares of choices, not
of tokens, and balances each text by itself unless \`seq_aux\` is false.
`;
