"""Llama with grouped-query attention, as transformers computes it -> golden/llama-tied, golden/llama-untied.

Run: python reference/llama.py        (see reference/golden.py for the setup)
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from golden import model_golden, versions


def llama(name: str, seed: int, rope_theta: float, **sizes) -> None:
    config = LlamaConfig(
        vocab_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
        **sizes,
    )
    model = LlamaForCausalLM(config)
    about = {"model": "transformers LlamaForCausalLM, eager attention, float32, random weights"}
    model_golden(name, model, layers=model.model.layers, final_norm=model.model.norm, seed=seed, about=about)


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    llama("llama-tied", seed=1, rope_theta=10000.0, hidden_size=16, intermediate_size=40, tie_word_embeddings=True)
    # Here headDim * heads is wider than the hidden size, which separates the two wherever they could be confused.
    llama("llama-untied", seed=2, rope_theta=500.0, hidden_size=24, head_dim=8, intermediate_size=32, tie_word_embeddings=False)
