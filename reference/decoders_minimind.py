"""MiniMind, dense and with experts, which transformers lacks -> golden/decoders/minimind*.

Run: python reference/decoders_minimind.py        (see reference/golden.py for the setup)

Written from the description of its architecture (https://github.com/jingyaogong/minimind): a Llama with tied embeddings whose
third release normalizes queries and keys, and whose blocks may be experts behind a softmax router; the second release has
shared experts besides and no such normalization. YaRN stretches positions when `inference_rope_scaling` is set. Experts
are balanced layer by layer, without padding; in the second release by shares of choices, and where `seq_aux` is set each
text by itself.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from decoders import VOCABULARY, compute, weight
from golden import FOLDER, save, versions


class RMSNorm(nn.Module):
    def __init__(self, size: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon)


def rotation(config: dict, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    dim, theta = config["head_dim"], config["rope_theta"]
    frequencies = theta ** -(torch.arange(0, dim, 2).double() / dim)
    factor = 1.0
    if config["rope_scaling"] and config["max_position_embeddings"] > config["rope_scaling"]["original_max_position_embeddings"]:
        yarn = config["rope_scaling"]
        original, factor = yarn["original_max_position_embeddings"], yarn["attention_factor"]
        pair = lambda turns: dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
        low, high = max(math.floor(pair(yarn["beta_fast"])), 0), min(math.ceil(pair(yarn["beta_slow"])), dim // 2 - 1)
        ramp = ((torch.arange(dim // 2) - low) / max(high - low, 0.001)).clamp(0, 1)
        frequencies = frequencies * (1 - ramp + ramp / yarn["factor"])
    angles = torch.outer(torch.arange(length).double(), frequencies).float()
    return torch.cat([angles.cos(), angles.cos()], -1) * factor, torch.cat([angles.sin(), angles.sin()], -1) * factor


class Attention(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        hidden, width = config["hidden_size"], config["head_dim"]
        self.width, self.groups = width, config["num_attention_heads"] // config["num_key_value_heads"]
        self.q_proj = nn.Linear(hidden, config["num_attention_heads"] * width, bias=False)
        self.k_proj = nn.Linear(hidden, config["num_key_value_heads"] * width, bias=False)
        self.v_proj = nn.Linear(hidden, config["num_key_value_heads"] * width, bias=False)
        self.o_proj = nn.Linear(config["num_attention_heads"] * width, hidden, bias=False)
        if "num_experts" in config:
            self.q_norm, self.k_norm = RMSNorm(width, config["rms_norm_eps"]), RMSNorm(width, config["rms_norm_eps"])

    def forward(self, x, cos, sin, mask):
        heads = lambda y: y.unflatten(-1, (-1, self.width)).transpose(1, 2)
        q, k, v = heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x))
        if hasattr(self, "q_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        turn = lambda y: y * cos + torch.cat([-y[..., self.width // 2 :], y[..., : self.width // 2]], -1) * sin
        q, k = turn(q), turn(k).repeat_interleave(self.groups, 1)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(self.width) + mask).softmax(-1)
        return self.o_proj((weights @ v.repeat_interleave(self.groups, 1)).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """The dense computation: all experts see all tokens, and what was not chosen weighs nothing."""

    def __init__(self, config: dict):
        super().__init__()
        self.second = "n_routed_experts" in config
        count = config["n_routed_experts"] if self.second else config["num_experts"]
        width = config["intermediate_size"] if self.second else config["moe_intermediate_size"]
        self.gate = nn.Linear(config["hidden_size"], count, bias=False)
        self.experts = nn.ModuleList(FeedForward(config["hidden_size"], width) for _ in range(count))
        if self.second:
            self.shared_experts = nn.ModuleList(
                FeedForward(config["hidden_size"], width) for _ in range(config["n_shared_experts"])
            )
        self.chosen, self.normalize = config["num_experts_per_tok"], config["norm_topk_prob"]

    def forward(self, x):
        self.logits = self.gate(x).flatten(0, 1)
        values, indices = self.gate(x).softmax(-1).topk(self.chosen, -1)
        if self.normalize and not (self.second and self.chosen == 1):
            values = values / (values.sum(-1, keepdim=True) + 1e-20)
        weights = torch.zeros(*x.shape[:-1], len(self.experts)).scatter(-1, indices, values)
        y = sum(weights[..., e : e + 1] * expert(x) for e, expert in enumerate(self.experts))
        return y + sum(expert(x) for expert in self.shared_experts) if self.second else y


class Layer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        norm = lambda: RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        self.self_attn = Attention(config)
        self.mlp = Experts(config) if config["use_moe"] else FeedForward(config["hidden_size"], config["intermediate_size"])

    def forward(self, x, *attention):
        x = x + self.self_attn(self.input_layernorm(x), *attention)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RMSNorm(config["hidden_size"], config["rms_norm_eps"])


class MiniMind(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.model, self.config = Decoder(config), config

    def forward(self, input_ids, attention_mask, use_cache=False, output_router_logits=False):
        length = input_ids.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1) + (1 - attention_mask[:, None, None].float()) * -1e9
        x = self.model.embed_tokens(input_ids)
        for layer in self.model.layers:
            x = layer(x, *rotation(self.config, length), mask)
        self.logits = self.model.norm(x) @ self.model.embed_tokens.weight.T
        if output_router_logits:
            experts = [layer.mlp for layer in self.model.layers]
            counted = [(mixture.logits, len(mixture.experts), mixture.chosen, attention_mask) for mixture in experts]
            if experts[0].second:
                self.aux_loss = sum(balancing_of_choices(*of_layer, self.config["seq_aux"]) for of_layer in counted)
            else:
                self.aux_loss = sum(load_balancing_loss_func((logits,), *rest) for logits, *rest in counted)
        return self


def balancing_of_choices(logits, experts: int, chosen: int, mask, per_text: bool):
    """N / K · Σᵢ fᵢ Pᵢ: f the share of the tokens that chose expert i, P its mean probability, of each text or of all tokens."""
    losses = []
    probabilities = logits.softmax(-1).unflatten(0, mask.shape)
    texts = [row[keep] for row, keep in zip(probabilities, mask.bool())]
    for text in texts if per_text else [torch.cat(texts)]:
        counts = [sum(int(e in token) for token in text.topk(chosen).indices.tolist()) for e in range(experts)]
        losses.append(sum(count / len(text) * text[:, e].mean() for e, count in enumerate(counts)) * experts / chosen)
    return sum(losses) / len(losses)


BASE = dict(
    model_type="minimind", architectures=["MiniMindForCausalLM"], vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=4, intermediate_size=24, rms_norm_eps=1e-5, rope_theta=100.0,
    max_position_embeddings=32, tie_word_embeddings=True, dropout=0.0, hidden_act="silu", use_moe=False,
    inference_rope_scaling=False, rope_scaling=None,
)
YARN = dict(beta_fast=4, beta_slow=1, factor=4, original_max_position_embeddings=16, attention_factor=1.0, type="yarn")

CASES = {
    "minimind": dict(BASE, head_dim=8, num_experts=4, inference_rope_scaling=True, rope_scaling=YARN),
    "minimind-moe": dict(BASE, use_moe=True, num_experts=4, num_experts_per_tok=1, moe_intermediate_size=12, norm_topk_prob=True,
                         router_aux_loss_coef=0.5),
    "minimind2-moe": dict(BASE, intermediate_size=12, use_moe=True, n_routed_experts=4, n_shared_experts=2, num_experts_per_tok=2,
                          norm_topk_prob=True, aux_loss_alpha=0.5, seq_aux=True),
    "minimind2-moe-together": dict(BASE, intermediate_size=12, use_moe=True, n_routed_experts=4, n_shared_experts=1,
                                   num_experts_per_tok=3, norm_topk_prob=True, aux_loss_alpha=0.5, seq_aux=False),
}

if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    for case, config in CASES.items():
        model = MiniMind(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weight(name, tuple(parameter.shape)))
        balancing = config.get("router_aux_loss_coef", config.get("aux_loss_alpha")) if config["use_moe"] else None
        tensors = compute(model, dict, balancing)
        about = {
            "model": "MiniMind, written anew in PyTorch, float32, weights by formula",
            "saved": {"config": config, "tensors": {name: list(p.shape) for name, p in model.named_parameters()}},
        }
        save(f"decoders/{case}", tensors, about)
