"""Writes float8.safetensors: every 8-bit float of both formats, and what PyTorch reads them as; a weight with a scale a row.

Run: pip install safetensors torch, then python make_float8.py in this folder. Made with safetensors 0.8.0 and torch 2.15.0.
"""

import torch
from safetensors.torch import save_file

codes = torch.arange(256, dtype=torch.uint8)
e4m3 = codes.view(torch.float8_e4m3fn)
e5m2 = codes.clone().view(torch.float8_e5m2)
torch.manual_seed(0)
weight = torch.randn(4, 3).to(torch.float8_e4m3fn)
scale = torch.rand(4, 1) + 0.5

save_file(
    {
        "e4m3": e4m3,
        "e5m2": e5m2,
        "e4m3.expected": e4m3.float(),
        "e5m2.expected": e5m2.float(),
        "rows.weight": weight,
        "rows.weight_scale": scale,
        "rows.expected": weight.float() * scale,
    },
    "float8.safetensors",
)
