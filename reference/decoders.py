"""Tiny decoders of every architecture as transformers computes them -> golden/decoders/<case>.

Run: python reference/decoders.py [case ...]        (see reference/golden.py for the setup)

No weights are stored: each value follows from the name of its tensor and its index (`formula`), which the tests compute too.
A case is what transformers writes with `save_pretrained` (config.json, the names and shapes of the tensors), with weights by
formula, loaded by `from_pretrained`, and its logits, its training loss (with experts, the loss that balances them included) and
the gradient of every parameter, whole.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

from golden import FOLDER, save, versions

CONTEXT = 20
VOCABULARY = 40


def formula(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Uniform in [-0.5, 0.5): FNV-1a of the name seeds MurmurHash3's finalizer of the index."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    mixed = (np.arange(int(np.prod(shape)), dtype=np.uint64) * 2654435769 + seed) % 2**32
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor) % 2**32
    return torch.tensor(mixed.astype(np.float64) / 2**32 - 0.5, dtype=torch.float64).reshape(shape)


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Large enough that attention is far from uniform and activations far from linear; norms near 1."""
    values = formula(name, shape)
    return (1 + values if len(shape) == 1 and name.endswith("weight") else values).float()


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    """ids and which of them are real [3, CONTEXT]: a full row, one padded at its end, one at its beginning."""
    values = formula("ids", (3, CONTEXT))
    ids = ((values + 0.5) * VOCABULARY).long()
    real = torch.ones_like(ids)
    real[1, -5:] = 0
    real[2, :4] = 0
    return ids, real


def with_formula_weights(directory: Path) -> dict[str, list[int]]:
    """Replaces the tensors of a directory that transformers wrote. Returns their names and shapes."""
    path = directory / "model.safetensors"
    with safe_open(path, "pt") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    save_file({name: weight(name, tuple(shape)) for name, shape in shapes.items()}, path, metadata={"format": "pt"})
    return shapes


def compute(model, saved_names, balancing: float | None = None) -> dict[str, torch.Tensor]:
    """Logits, training loss and gradients. `saved_names` is what `state_dict` holds under the names of the file.

    `balancing` is the weight of the loss that balances experts, which counts the positions that are not padding.
    """
    ids, real = tokens()
    labels = torch.where(real.bool(), ids, -100)[:, 1:]
    labels = torch.cat([labels, torch.full((3, 1), -100)], dim=1)
    labels[2, :4] = -100  # what follows padding says nothing
    routers = {} if balancing is None else {"output_router_logits": True}
    outputs = model(input_ids=ids, attention_mask=real, use_cache=False, **routers)
    loss = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    tensors = {"ids": ids, "real": real.bool(), "labels": labels, "logits": outputs.logits, "loss": loss}
    if balancing is not None:
        tensors["balancing"] = outputs.aux_loss
        tensors["trainingLoss"] = loss = loss + balancing * outputs.aux_loss
    loss.backward()
    for name, gradient in saved_names({name: p.grad for name, p in model.named_parameters()}).items():
        tensors[f"gradient.{name}"] = gradient
    return tensors


def experts_apart(prefix: str, gate: str, up: str, down: str):
    """The gradients of experts that transformers keeps stacked, under the names of the file."""

    def apart(gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        result = {}
        for name, gradient in gradients.items():
            stem, _, last = name.rpartition(".")
            if last == "gate_up_proj":
                for e, both in enumerate(gradient):
                    result[f"{stem}.{e}.{gate}.weight"], result[f"{stem}.{e}.{up}.weight"] = both.chunk(2)
            elif last == "down_proj":
                for e, one in enumerate(gradient):
                    result[f"{stem}.{e}.{down}.weight"] = one
            else:
                result[name] = gradient
        return {name.replace(".mlp.", prefix): gradient for name, gradient in result.items()}

    return apart


def embed_out(gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """GPT-NeoX calls its output so in files."""
    return {name.replace("lm_head", "embed_out"): gradient for name, gradient in gradients.items()}


SMALL = dict(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None, pad_token_id=None)
LLAMA = dict(
    **SMALL, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    rms_norm_eps=1e-5, max_position_embeddings=32,
)
# Scalings treat pairs of features differently, so heads have several.
WIDE = dict(LLAMA, num_attention_heads=2, num_key_value_heads=1, head_dim=16)
GEMMA = dict(
    **SMALL, hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=6,
    query_pre_attn_scalar=20, max_position_embeddings=32,
)
COHERE = dict(
    **SMALL, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=32,
)
NEOX = dict(
    **SMALL, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=32,
)
EXPERTS = dict(num_experts_per_tok=2, output_router_logits=False, router_aux_loss_coef=0.5)


def rope(rope_type: str, theta: float = 100.0, **settings) -> dict:
    return {"rope_type": rope_type, "rope_theta": theta, **settings}


# Each reaches past its original length, which is below CONTEXT.
LINEAR = rope("linear", factor=4.0)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=8, beta_fast=2.0, beta_slow=0.5)
LLAMA3 = rope("llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
LONGROPE = dict(short_factor=[1.0, 1.1, 1.3, 1.6], long_factor=[1.0, 1.5, 2.5, 4.0])


CASES: dict[str, tuple] = {
    "llama": ("Llama", dict(**LLAMA, head_dim=8, attention_bias=True, mlp_bias=True, rope_parameters=rope("default"))),
    "llama-linear": ("Llama", dict(**LLAMA, tie_word_embeddings=True, rope_parameters=LINEAR)),
    "llama-dynamic": ("Llama", dict(LLAMA, head_dim=8, max_position_embeddings=8, rope_parameters=rope("dynamic", factor=2.0))),
    "llama-yarn": ("Llama", dict(**WIDE, rope_parameters=YARN)),
    "llama-yarn-mscale": (
        "Llama",
        dict(**WIDE, rope_parameters=rope(
            "yarn", factor=4.0, original_max_position_embeddings=8, mscale=0.7, mscale_all_dim=1.3, truncate=False)),
    ),
    "llama-llama3": ("Llama", dict(**WIDE, rope_parameters=LLAMA3)),
    "llama-longrope": (
        "Llama",
        dict(LLAMA, head_dim=8, rope_parameters=rope(
            "longrope", factor=4.0, original_max_position_embeddings=8, **LONGROPE)),
    ),
    "mistral": ("Mistral", dict(**LLAMA, head_dim=8, sliding_window=6, rope_parameters=LLAMA3)),
    "qwen2": (
        "Qwen2",
        dict(**LLAMA, use_sliding_window=True, sliding_window=6, max_window_layers=1, rope_parameters=YARN),
    ),
    "qwen3": (
        "Qwen3",
        dict(**LLAMA, head_dim=8, attention_bias=True, use_sliding_window=True, sliding_window=6, max_window_layers=1,
             tie_word_embeddings=True, rope_parameters=YARN),
    ),
    "smollm3": (
        "SmolLM3",
        dict(dict(LLAMA, num_hidden_layers=4), no_rope_layer_interval=2, use_sliding_window=True, sliding_window=6,
             rope_parameters=LINEAR),
    ),
    "mixtral": (
        "Mixtral",
        dict(**LLAMA, **EXPERTS, head_dim=8, num_local_experts=4, sliding_window=7, rope_parameters=YARN),
        experts_apart(".block_sparse_moe.", "w1", "w3", "w2"),
    ),
    "qwen3_moe": (
        "Qwen3Moe",
        dict(dict(LLAMA, num_hidden_layers=3), **EXPERTS, head_dim=8, num_experts=5, moe_intermediate_size=12, norm_topk_prob=True,
             mlp_only_layers=[1], use_sliding_window=True, sliding_window=6, rope_parameters=YARN),
        experts_apart(".mlp.", "gate_proj", "up_proj", "down_proj"),
    ),
    "gemma2": (
        "Gemma2",
        dict(dict(GEMMA, num_hidden_layers=3), attn_logit_softcapping=2.0, final_logit_softcapping=1.5, attention_bias=True,
             rope_parameters=LINEAR),
    ),
    "gemma3_text": (
        "Gemma3Text",
        dict(dict(GEMMA, num_hidden_layers=3), layer_types=["sliding_attention", "full_attention", "sliding_attention"],
             final_logit_softcapping=2.5,
             rope_parameters={"full_attention": LINEAR, "sliding_attention": rope("default", theta=30.0)}),
    ),
    "olmo2": ("Olmo2", dict(**LLAMA, attention_bias=True, rope_parameters=LLAMA3)),
    "cohere": (
        "Cohere",
        dict(**COHERE, use_qk_norm=True, logit_scale=0.4, attention_bias=True, rope_parameters=YARN),
    ),
    "cohere2": (
        "Cohere2",
        dict(dict(COHERE, num_hidden_layers=3), sliding_window=6, logit_scale=0.4, tie_word_embeddings=False,
             layer_types=["sliding_attention", "full_attention", "sliding_attention"], rope_parameters=LINEAR),
    ),
    "phi": (
        "Phi",
        dict({k: v for k, v in WIDE.items() if k not in ("rms_norm_eps", "head_dim")}, qk_layernorm=True, hidden_act="gelu_new",
             rope_parameters=dict(LINEAR, partial_rotary_factor=0.5)),
    ),
    # Past the original length with the long factors, and within it with the short ones.
    "phi3": (
        "Phi3",
        dict({k: v for k, v in WIDE.items() if k != "head_dim"}, hidden_size=24, sliding_window=6,
             original_max_position_embeddings=8, rope_parameters=rope("longrope", partial_rotary_factor=0.7, **LONGROPE)),
    ),
    "phi3-short": (
        "Phi3",
        dict({k: v for k, v in WIDE.items() if k != "head_dim"}, original_max_position_embeddings=24, tie_word_embeddings=True,
             rope_parameters=rope("longrope", attention_factor=1.2, **LONGROPE)),
    ),
    "gpt_neox": ("GPTNeoX", dict(**NEOX, rope_parameters=dict(LINEAR, partial_rotary_factor=0.5)), embed_out),
    "gpt_neox-sequential": (
        "GPTNeoX",
        dict(dict(NEOX, max_position_embeddings=8), use_parallel_residual=False, attention_bias=False, hidden_act="relu",
             rope_parameters=rope("dynamic", factor=2.0, partial_rotary_factor=0.5)),
        embed_out,
    ),
    "gptj": ("GPTJ", dict(**SMALL, n_embd=16, n_layer=2, n_head=2, n_positions=32, rotary_dim=4, n_inner=24)),
    "bloom": ("Bloom", dict(**SMALL, hidden_size=12, n_layer=2, n_head=6)),
    "bloom-post": ("Bloom", dict(**SMALL, hidden_size=16, n_layer=2, n_head=4, apply_residual_connection_post_layernorm=True)),
    "gpt2": (
        "GPT2",
        dict(**SMALL, n_embd=16, n_layer=2, n_head=4, n_positions=32, n_inner=40, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0),
    ),
}


# What docs/add-a-model.md adds.
GUIDE = {"olmo": ("Olmo", dict({k: v for k, v in LLAMA.items() if k != "rms_norm_eps"}, rope_parameters=rope("default")))}


def make(name: str, kind: str, settings: dict, *apart) -> None:
    config = getattr(transformers, f"{kind}Config")(**settings)
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        model_class(config).save_pretrained(directory)
        shapes = with_formula_weights(directory)
        model, report = model_class.from_pretrained(directory, attn_implementation="eager", output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"], report
        saved_config = json.loads((directory / "config.json").read_text())
    model.eval()
    tensors = compute(model, apart[0] if apart else dict, getattr(config, "router_aux_loss_coef", None))
    assert sorted(name[9:] for name in tensors if name.startswith("gradient.")) == sorted(shapes), "names of gradients"
    about = {"model": f"transformers {model_class.__name__}, eager attention, float32, weights by formula",
             "saved": {"config": saved_config, "tensors": shapes}}
    save(name, tensors, about)


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    (FOLDER / "decoders").mkdir(parents=True, exist_ok=True)
    for case in sys.argv[1:] or CASES:
        make(f"decoders/{case}", *CASES[case])
    for case in GUIDE:
        make(f"guide-{case}", *GUIDE[case])
