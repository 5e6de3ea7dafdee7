"""GPT-2 as transformers computes it -> golden/gpt2.

Run: python reference/gpt2.py        (see reference/golden.py for the setup)
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from golden import model_golden, versions

if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    config = GPT2Config(
        vocab_size=40,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=4,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    model_golden(
        "gpt2",
        model,
        layers=model.transformer.h,
        final_norm=model.transformer.ln_f,
        seed=3,
        about={
            "model": "transformers GPT2LMHeadModel (tied, gelu_new = tanh GELU), eager attention, float32, random weights",
            "layout": "c_attn, c_proj and c_fc are Conv1D: their weights are [in, out]",
        },
    )
