"""Writes golden files: small oracles, made by other frameworks, that the tests compare with.

A golden file is `golden/<name>.safetensors` (the tensors) and `golden/<name>.json` beside it (what they are, and the
versions that made them). Nothing here is needed to build, test or run the project; the files are committed.

Setup, once:
  python3 -m venv <folder outside the repository>
  <folder>/bin/pip install torch numpy transformers safetensors
"""

import json
import platform
import sys
from pathlib import Path

import safetensors
import torch
import transformers
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "golden"


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "safetensors": safetensors.__version__,
    }


def save(name: str, tensors: dict[str, torch.Tensor], about: dict) -> None:
    """Floating-point tensors are stored as float32, integers as int32 (the type that programs are fed with), booleans as they are."""

    def stored(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype == torch.bool:
            return tensor.detach().contiguous().clone()
        return tensor.detach().to(torch.float32 if tensor.is_floating_point() else torch.int32).contiguous().clone()

    FOLDER.mkdir(exist_ok=True)
    origin = {"madeBy": f"python reference/{Path(sys.argv[0]).name}", "versions": versions()}
    path = FOLDER / f"{name}.safetensors"
    save_file({key: stored(tensor) for key, tensor in tensors.items()}, path, metadata={"origin": json.dumps(origin)})
    path.chmod(0o644)
    (FOLDER / f"{name}.json").write_text(json.dumps({**origin, **about}, indent=2) + "\n")
    print(f"{path.relative_to(FOLDER.parent)}: {len(tensors)} tensors, {path.stat().st_size / 1024:.1f} KiB")


def randomize(module: torch.nn.Module, seed: int, scale: float = 0.25) -> None:
    """Weights large enough that attention is far from uniform and every activation far from linear (the usual 0.02 hides errors)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator) * scale
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(1 + values if is_norm else values)


def model_golden(name: str, model: torch.nn.Module, *, layers, final_norm: torch.nn.Module, seed: int, about: dict,
                 batch: int = 2, context: int = 12) -> None:
    """Logits, loss, hidden states and every parameter's gradient of a causal language model.

    `labels[b, t]` is the target of `logits[b, t]` (already shifted); -100 is ignored.
    `hidden.0` is the input of the first layer, `hidden.i` the output of layer i, `hidden.norm` that of the final norm.
    """
    randomize(model, seed)
    vocabulary = model.config.vocab_size
    generator = torch.Generator().manual_seed(seed + 1)
    tokens = torch.randint(0, vocabulary, (batch, context + 1), generator=generator)
    ids, labels = tokens[:, :-1], tokens[:, 1:].clone()
    labels[0, :3] = -100  # a prompt that is not learned
    labels[-1, -4:] = -100  # padding

    hidden: dict[str, torch.Tensor] = {}

    def first(value):
        return value[0] if isinstance(value, tuple) else value

    layers[0].register_forward_pre_hook(lambda _, inputs: hidden.__setitem__("hidden.0", first(inputs)))
    for index, layer in enumerate(layers, start=1):
        layer.register_forward_hook(lambda _, __, output, index=index: hidden.__setitem__(f"hidden.{index}", first(output)))
    final_norm.register_forward_hook(lambda _, __, output: hidden.__setitem__("hidden.norm", output))

    model.eval()  # no dropout
    logits = model(input_ids=ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    loss.backward()

    tensors = {"ids": ids, "labels": labels, "logits": logits, "loss": loss, **hidden}
    for parameter_name, parameter in model.named_parameters():
        tensors[f"parameter.{parameter_name}"] = parameter
        tensors[f"gradient.{parameter_name}"] = parameter.grad
    conventions = {
        "labels": "labels[b, t] is the target of logits[b, t]; -100 is ignored; the loss is the mean over the rest",
        "hidden": "hidden.0 is what enters the first layer, hidden.i what leaves layer i, hidden.norm what leaves the final norm",
        "parameter": "names and layouts of transformers; a tied lm_head does not appear",
    }
    save(name, tensors, {**about, "seed": seed, "conventions": conventions, "config": model.config.to_diff_dict()})
