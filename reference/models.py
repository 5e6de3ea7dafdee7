"""Tiny models that are no decoders, as transformers computes them -> golden/models/<case>.

Run: python reference/models.py [case ...]        (see reference/golden.py for the setup)

As in decoders.py no weights are stored: each value follows from the name of its tensor and its index. A case is what transformers
writes with `save_pretrained` (config.json, the names and shapes of the tensors), loaded again with weights by formula; the inputs by
their names here; every output; and the gradients of a scalar, the sum of all outputs times values by formula, with respect to every
parameter.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from decoders import formula, tokens, weight, with_formula_weights
from golden import FOLDER, save

BERT = dict(
    vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, max_position_embeddings=32,
    type_vocab_size=3, layer_norm_eps=1e-3, pad_token_id=None,
)
VIT = dict(
    image_size=12, patch_size=4, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
    layer_norm_eps=1e-3,
)
LABELS = dict(id2label={0: "ham", 1: "spam", 2: "neither"}, label2id={"ham": 0, "spam": 1, "neither": 2})


def text() -> dict[str, torch.Tensor]:
    ids, real = tokens()
    token_types = ((formula("token types", tuple(ids.shape)) + 0.5) * 3).long()
    return {"ids": ids, "mask": real.bool(), "tokenTypeIds": token_types}


def pictures(channels: int = 3) -> dict[str, torch.Tensor]:
    return {"pixels": 4 * formula("pixels", (2, channels, 12, 12)).float()}


# transformers' names of inputs and outputs, and ours
INPUTS = {"ids": "input_ids", "mask": "attention_mask", "tokenTypeIds": "token_type_ids", "pixels": "pixel_values"}
OUTPUTS = {"lastHiddenState": "last_hidden_state", "poolerOutput": "pooler_output", "logits": "logits"}

CASES: dict[str, tuple] = {
    "bert": ("BertModel", dict(**BERT), text()),
    "bert-masked-lm": ("BertForMaskedLM", dict(**BERT, hidden_act="gelu_new"), text()),
    "bert-classifier": ("BertForSequenceClassification", dict(**BERT, **LABELS, hidden_act="relu", classifier_dropout=0.2), text()),
    "vit": ("ViTModel", dict(**VIT), pictures()),
    "vit-classifier": ("ViTForImageClassification", dict(**VIT, **LABELS, num_channels=1, qkv_bias=False), pictures(1)),
}


def case(name: str) -> None:
    class_name, settings, inputs = CASES[name]
    model_class = getattr(transformers, class_name)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        model_class(model_class.config_class(**settings)).save_pretrained(directory)
        shapes = with_formula_weights(directory)
        config = json.loads((directory / "config.json").read_text())
        model = model_class.from_pretrained(directory, attn_implementation="eager").eval()
    given = {INPUTS[key]: value.long() if value.dtype == torch.bool else value for key, value in inputs.items()}
    outputs = model(**given)
    found = {ours: outputs[theirs] for ours, theirs in OUTPUTS.items() if outputs.get(theirs) is not None}
    # Rows that are padding mean nothing: they are left out of the scalar.
    scalar = torch.zeros(())
    for key, value in found.items():
        weights = formula(f"scalar {key}", tuple(value.shape)).float()
        if "mask" in inputs and value.dim() == 3:
            weights = weights * inputs["mask"][:, :, None]
        scalar = scalar + (value * weights).sum()
    scalar.backward()
    # transformers has other names inside than in files; the values tell which parameter is which.
    gradients = {}
    for key, shape in shapes.items():
        values = weight(key, tuple(shape))
        [parameter] = [one for one in model.parameters() if one.shape == values.shape and torch.equal(one.detach(), values)]
        gradients[f"gradient.{key}"] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    about = {"model": f"transformers.{class_name}", "saved": {"config": config, "tensors": shapes}}
    save(f"models/{name}", {**inputs, **found, **gradients}, about)


if __name__ == "__main__":
    (FOLDER / "models").mkdir(exist_ok=True)
    transformers.logging.set_verbosity_error()
    for name in sys.argv[1:] or CASES:
        case(name)
