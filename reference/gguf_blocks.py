"""Golden file of GGUF's block types: blocks of random bits and what they stand for; values and the blocks that they become.

Setup and run, in a folder outside the repository for the environment:
  python3 -m venv <folder> && <folder>/bin/pip install gguf numpy safetensors
  <folder>/bin/python reference/gguf_blocks.py
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

PATH = Path(__file__).parent / "golden" / "gguf-blocks"

# Where the float16 numbers of a block stand: random bits would make some of them infinite.
SCALES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "IQ4_NL": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_XS": [0],
}

random = np.random.default_rng(0)
tensors = {}
for name, places in SCALES.items():
    kind = GGMLQuantizationType[name]
    _, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (3, size), dtype=np.uint8)
    for place in places:
        blocks[:, place : place + 2] = random.normal(0, 0.1, (3, 1)).astype(np.float16).view(np.uint8)
    tensors[f"{name}.blocks"] = blocks
    tensors[f"{name}.values"] = dequantize(blocks, kind).astype(np.float32)

rows = random.normal(0, 0.3, (4, 64)).astype(np.float32)
rows[1, :32] = 0
rows[2] = np.round(rows[2] * 8) / 8
tensors["rows"] = rows
for name in ("Q8_0", "Q4_0", "F16", "BF16"):
    tensors[f"rows.{name}"] = np.ascontiguousarray(quantize(rows, GGMLQuantizationType[name])).view(np.uint8)

versions = {"python": platform.python_version(), **{name: version(name) for name in ("gguf", "numpy", "safetensors")}}
origin = {"madeBy": "python reference/gguf_blocks.py", "versions": versions}
save_file(tensors, PATH.with_suffix(".safetensors"), metadata={"origin": json.dumps(origin)})
PATH.with_suffix(".json").write_text(json.dumps(origin, indent=2) + "\n")
