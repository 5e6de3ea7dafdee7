"""What is saved here, opened by transformers -> golden/decoders-saved.json.

Run: TSUMIKI_SAVED=<folder> npx vitest run src/models/architectures.test.ts     (which leaves there what it saves)
     python reference/decoders_saved.py <folder>                                (see reference/golden.py for the setup)

Each directory is opened by `from_pretrained`: no key may be missing or unexpected, and the logits must be those of
reference/decoders.py. With each result goes a digest of what was opened; the test compares it with that of what it saves.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from decoders import tokens
from golden import FOLDER, versions


def digest(directory: Path) -> str:
    """Of the configuration's text, and of names and shapes of the tensors."""
    with safe_open(directory / "model.safetensors", "pt") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    text = (directory / "config.json").read_text() + json.dumps(shapes, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def opened(directory: Path) -> dict:
    model, report = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager", output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[problem], (directory.name, problem, report[problem])
    model.eval()
    ids, real = tokens()
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=real, use_cache=False).logits
    expected = load_file(FOLDER / "decoders" / f"{directory.name}.safetensors")["logits"]
    difference = ((logits - expected).abs().amax(-1) * real).max().item()
    assert difference < 1e-4, (directory.name, difference)
    return {"class": type(model).__name__, "digest": digest(directory), "largestDifference": difference}


if __name__ == "__main__":
    torch.set_num_threads(1)
    directories = sorted(path for path in Path(sys.argv[1]).iterdir() if not path.name.startswith("minimind"))
    results = {path.name: opened(path) for path in directories}
    about = {"madeBy": "python reference/decoders_saved.py", "versions": versions(), "opened": results}
    (FOLDER / "decoders-saved.json").write_text(json.dumps(about, indent=2) + "\n")
    print(f"{len(results)} directories opened, the largest difference {max(r['largestDifference'] for r in results.values()):.1e}")
