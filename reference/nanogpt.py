"""nanoGPT's model (GPT-2 without biases, exact GELU), as bench/peers/pytorch_models.py computes it -> golden/nanogpt.

Parameters have the names and layouts of transformers' GPT-2 (linear weights [in, out]), so that one model class reads both.

Run: python reference/nanogpt.py        (see reference/golden.py for the setup)
"""

import sys
from pathlib import Path

import torch

from golden import randomize, save, versions

sys.path.insert(0, str(Path(__file__).parents[1] / "bench" / "peers"))
from pytorch_models import NanoGpt  # noqa: E402

SIZE = {"layers": 2, "hidden": 16, "heads": 4, "context": 12}
VOCABULARY = 40

# Where transformers' name differs from ours, beyond the prefix.
RENAMED = {"attn_c_proj": "attn.c_proj", "mlp_c_proj": "mlp.c_proj", "c_attn": "attn.c_attn", "c_fc": "mlp.c_fc"}


def transformers_name(name: str) -> str:
    *path, module, leaf = name.split(".")
    return ".".join(["transformer", *path, RENAMED.get(module, module), leaf])


def transformers_layout(name: str, value: torch.Tensor) -> torch.Tensor:
    return value.T if name.split(".")[-2] in RENAMED else value


def main() -> None:
    model = NanoGpt(SIZE, VOCABULARY)
    randomize(model, seed=6)
    tokens = torch.randint(0, VOCABULARY, (2, SIZE["context"] + 1), generator=torch.Generator().manual_seed(7))
    ids, labels = tokens[:, :-1], tokens[:, 1:]
    loss = model(ids, labels)
    loss.backward()
    tensors = {"ids": ids, "labels": labels, "logits": model.logits(ids), "loss": loss}
    for name, parameter in model.named_parameters():
        tensors[f"parameter.{transformers_name(name)}"] = transformers_layout(name, parameter)
        tensors[f"gradient.{transformers_name(name)}"] = transformers_layout(name, parameter.grad)
    about = {
        "model": "GPT-2 without biases in linear layers and norms, exact GELU, tied embedding, no dropout; float32, random weights",
        "conventions": {"labels": "labels[b, t] is the target of logits[b, t]", "parameter": "names and layouts of transformers' GPT-2"},
        "config": {
            "vocab_size": VOCABULARY,
            "n_positions": SIZE["context"],
            "n_embd": SIZE["hidden"],
            "n_layer": SIZE["layers"],
            "n_head": SIZE["heads"],
            "activation_function": "gelu",
            "layer_norm_epsilon": 1e-5,
            "bias": False,
        },
    }
    save("nanogpt", tensors, about)


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    main()
