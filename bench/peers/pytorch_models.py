"""The two models of the benches in PyTorch: a Llama-style decoder and nanoGPT's GPT. `size` is the workload of workloads.ts."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ----------------------------------------------------------------------------------------------------------------------
# Llama


def rotary_tables(context: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos, sin [context, headDim] for the half rotation of Hugging Face's Llama."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2) / head_dim)
    angles = torch.arange(context)[:, None] * frequencies
    return torch.cat([angles.cos()] * 2, dim=-1), torch.cat([angles.sin()] * 2, dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, size: dict) -> None:
        super().__init__()
        hidden = size["hidden"]
        self.heads = size["heads"]
        self.q_proj = nn.Linear(hidden, hidden, bias=False)
        self.k_proj = nn.Linear(hidden, hidden, bias=False)
        self.v_proj = nn.Linear(hidden, hidden, bias=False)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # [batch, seq, hidden]
        batch, seq, hidden = x.shape
        q, k, v = (f(x).view(batch, seq, self.heads, -1).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, seq, hidden))


class SwiGLU(nn.Module):
    def __init__(self, size: dict) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size["hidden"], size["intermediate"], bias=False)
        self.up_proj = nn.Linear(size["hidden"], size["intermediate"], bias=False)
        self.down_proj = nn.Linear(size["intermediate"], size["hidden"], bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    def __init__(self, size: dict) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(size["hidden"], eps=size["normEpsilon"])
        self.self_attn = Attention(size)
        self.post_attention_layernorm = nn.RMSNorm(size["hidden"], eps=size["normEpsilon"])
        self.mlp = SwiGLU(size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, size: dict) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(size["vocabulary"], size["hidden"])
        self.layers = nn.ModuleList(LlamaLayer(size) for _ in range(size["layers"]))
        self.norm = nn.RMSNorm(size["hidden"], eps=size["normEpsilon"])
        cos, sin = rotary_tables(size["context"], size["hidden"] // size["heads"], size["ropeTheta"])
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        """ids, labels [batch, seq] -> the mean cross-entropy"""
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed_tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


# Starting values and batches: `hash`, `startingValues` and `batchOfStep` of workloads.ts, in numpy.

BATCH_STREAM, DISTINCT_BATCHES = 1_000_000, 16


def hash32(stream: int, index: np.ndarray) -> np.ndarray:
    x = np.uint32((stream + 1) * 0x9E3779B9 & 0xFFFFFFFF) ^ index.astype(np.uint32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
    return x ^ (x >> np.uint32(15))


@torch.no_grad()
def set_starting_values(model: Llama) -> None:
    for index, parameter in enumerate(model.parameters()):
        if parameter.dim() == 1:
            parameter.fill_(1)
        else:
            uniform = hash32(index, np.arange(parameter.numel())) / 2**32 - 0.5
            parameter.copy_(torch.from_numpy(uniform * (2 * 0.02 * math.sqrt(3))).view_as(parameter))


def batch_of_step(size: dict, step: int) -> tuple[Tensor, Tensor]:
    """ids, labels [batch, context]"""
    batch, context, vocabulary = size["batch"], size["context"], size["vocabulary"]
    random = hash32(BATCH_STREAM + step % DISTINCT_BATCHES, np.arange(batch * (context + 1))).reshape(batch, context + 1).astype(np.int64)
    tokens = np.empty((batch, context + 1), dtype=np.int64)
    tokens[:, 0] = random[:, 0] % vocabulary
    for position in range(1, context + 1):
        tokens[:, position] = (tokens[:, position - 1] * 5 + 7 + random[:, position] % 4) % vocabulary
    return torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(tokens[:, 1:].copy())


# ----------------------------------------------------------------------------------------------------------------------
# nanoGPT's model: GPT-2 without biases and dropout, with the exact GELU


class GptLayer(nn.Module):
    def __init__(self, size: dict) -> None:
        super().__init__()
        hidden = size["hidden"]
        self.heads = size["heads"]
        self.ln_1 = nn.LayerNorm(hidden, bias=False)
        self.c_attn = nn.Linear(hidden, 3 * hidden, bias=False)
        self.attn_c_proj = nn.Linear(hidden, hidden, bias=False)
        self.ln_2 = nn.LayerNorm(hidden, bias=False)
        self.c_fc = nn.Linear(hidden, 4 * hidden, bias=False)
        self.mlp_c_proj = nn.Linear(4 * hidden, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # [batch, seq, hidden]
        batch, seq, hidden = x.shape
        q, k, v = (y.view(batch, seq, self.heads, -1).transpose(1, 2) for y in self.c_attn(self.ln_1(x)).split(hidden, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_c_proj(y.transpose(1, 2).reshape(batch, seq, hidden))
        return x + self.mlp_c_proj(F.gelu(self.c_fc(self.ln_2(x))))


class NanoGpt(nn.Module):
    def __init__(self, size: dict, vocabulary: int) -> None:
        super().__init__()
        self.residual_projections = 2 * size["layers"]
        self.wte = nn.Embedding(vocabulary, size["hidden"])
        self.wpe = nn.Embedding(size["context"], size["hidden"])
        self.h = nn.ModuleList(GptLayer(size) for _ in range(size["layers"]))
        self.ln_f = nn.LayerNorm(size["hidden"], bias=False)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """normal(0.02); what is added to the residual stream is scaled down by the square root of how often that happens."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1)
            else:
                scale = 1 / math.sqrt(self.residual_projections) if name.endswith("c_proj.weight") else 1
                parameter.normal_(0, 0.02 * scale, generator=generator)

    def logits(self, ids: Tensor) -> Tensor:
        """ids [batch, seq] -> [batch, seq, vocabulary]"""
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for layer in self.h:
            x = layer(x)
        return F.linear(self.ln_f(x), self.wte.weight)

    def forward(self, ids: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        """ids, labels [batch, seq] -> the cross-entropy"""
        return F.cross_entropy(self.logits(ids).flatten(0, 1), labels.flatten(), reduction=reduction)
