"""Tiny models with adapters of peft -> golden/adapters/<case>/.

Each case holds `base` (a directory of save_pretrained), `adapter` (one of peft, its parameters random), and `expected.safetensors`:

  ids, labels            the batch; label i is what follows id i
  logits, logits.base    with the adapter, and of the model without it
  loss                   the mean cross-entropy with the adapter
  gradient.<tensor>      of that loss by each parameter, under the name that it has in the adapter's file; of factors that share their
                         storage (a tied pair that is adapted together) the sum, under the embedding's names

  gpt2        a fused Conv1D, another one, and the embedding's lookup; the head is tied to it and has no adapter
  llama       by pattern, rank-stabilized, ranks and alphas that differ between modules; an output layer of its own
  tied        embedding and head share their weight, and one change of it (ensure_weight_tying)
  bert        an encoder that tells classes: its last layer is trained in full beside the adapter (modules_to_save)
  tied-head   the head alone is adapted, the embedding that it is tied to is not
  ia3-*       (IA)3, behind linear maps and before those of feed-forward blocks
  dora-*      LoRA with magnitudes of its own (use_dora)

`conv.safetensors`: a convolution with stride and padding and its adapter, by itself.

Run: python reference/adapters.py        (see reference/golden.py for the setup; also needs peft)
"""

import json
import shutil

import peft
import torch
from golden import FOLDER, randomize, versions
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

TARGET = FOLDER / "adapters"
VOCAB = 19


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=8, n_layer=2, n_head=2, n_positions=16, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None))


def llama(tied: bool):
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=32, tie_word_embeddings=tied, bos_token_id=None, eos_token_id=None,
        )
    )


def bert():
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCAB, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16,
            num_labels=3,
        )
    )


CASES = {
    "gpt2": (gpt2, dict(r=3, lora_alpha=6, target_modules=["c_attn", "mlp.c_proj", "wte"], fan_in_fan_out=True)),
    "llama": (
        lambda: llama(False),
        dict(
            r=4, lora_alpha=8, use_rslora=True, target_modules=r".*\.(q_proj|v_proj|down_proj)|lm_head",
            rank_pattern={"v_proj": 2}, alpha_pattern={r"layers\.1\.self_attn\.q_proj": 3},
        ),
    ),
    "tied": (lambda: llama(True), dict(r=3, lora_alpha=3, target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True)),
    "tied-head": (lambda: llama(True), dict(r=3, lora_alpha=3, target_modules=["up_proj", "lm_head"])),
    "bert": (bert, dict(r=2, target_modules=["query", "output.dense"], task_type="SEQ_CLS")),
    "ia3-gpt2": (gpt2, dict(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"])),
    "ia3-llama": (lambda: llama(True), dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "dora-gpt2": (gpt2, dict(r=3, lora_alpha=6, target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True, use_dora=True)),
    "dora-llama": (lambda: llama(False), dict(r=2, lora_alpha=5, target_modules=["q_proj", "down_proj"], use_dora=True)),
}


def write(name: str, seed: int) -> None:
    make, settings = CASES[name]
    folder = TARGET / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    base = make().eval()
    randomize(base, seed)
    base.save_pretrained(folder / "base")
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCAB, (2, 7), generator=generator)
    labels = torch.randint(0, 3, (2,)) if name == "bert" else torch.randint(0, VOCAB, (2, 7), generator=generator)
    tensors = {"ids": ids.int(), "labels": labels.int(), "logits.base": base(ids).logits}

    model = get_peft_model(base, (IA3Config if name.startswith("ia3") else LoraConfig)(**{"task_type": "CAUSAL_LM"} | settings)).eval()
    factors = {key: value for key, value in model.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for value in factors.values():
            drawn = torch.randn(value.shape, generator=generator) * 0.3
            value.copy_(value + drawn if value.dim() == 1 or 1 in value.shape and name.startswith("ia3") else drawn)
    logits = model(ids).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten())
    loss.backward()
    tensors |= {"logits": logits, "loss": loss}
    for key, value in factors.items():
        name_in_file = key.replace(".modules_to_save", "").replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector")
        if settings.get("ensure_weight_tying") and "lm_head" in key:
            embedding = "base_model.model.model.embed_tokens.lora_embedding_" + ("B" if "lora_A" in key else "A")
            tensors[f"gradient.{embedding}"] = tensors[f"gradient.{embedding}"] + value.grad.T
        else:
            tensors[f"gradient.{name_in_file}"] = value.grad.clone()
    model.save_pretrained(folder / "adapter")
    config = folder / "adapter" / "adapter_config.json"
    read = json.loads(config.read_text())
    for field in ("target_modules", "modules_to_save", "feedforward_modules"):  # sets, in no order
        if isinstance(read.get(field), list):
            read[field] = sorted(read[field])
    config.write_text(json.dumps(read, indent=2) + "\n")
    for unneeded in ("adapter/README.md", "base/generation_config.json"):
        (folder / unneeded).unlink(missing_ok=True)
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / "expected.safetensors")


def write_convolution() -> None:
    generator = torch.Generator().manual_seed(8)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, kernel_size=(3, 2), stride=2, padding=1))
    randomize(net, 8)
    x = torch.randn((2, 3, 6, 5), generator=generator)
    tensors = {"x": x, "weight": net[0].weight, "bias": net[0].bias}
    model = get_peft_model(net, LoraConfig(r=2, lora_alpha=3, target_modules=["0"]))
    layer = model.base_model.model[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        for value in (a, b):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    y = model(x)
    (y**2).sum().backward()
    tensors |= {"a": a, "b": b, "y": y, "gradient.a": a.grad, "gradient.b": b.grad, "merged": layer.get_base_layer().weight + layer.get_delta_weight("default")}
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, TARGET / "conv.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed, case in enumerate(CASES):
        write(case, seed + 1)
    write_convolution()
    origin = {"madeBy": "python reference/adapters.py", "versions": versions() | {"peft": peft.__version__}}
    (TARGET / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")
    print(json.dumps(origin))
