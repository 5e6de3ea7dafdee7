"""Blocks as PyTorch and transformers compute them -> golden/blocks.

Run: python reference/decoders_blocks.py        (see reference/golden.py for the setup)

Weights and inputs are by formula (reference/decoders.py).
"""

import torch
from torch import nn
from transformers.models.deepseek_v2.configuration_deepseek_v2 import DeepseekV2Config
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe
from transformers.models.t5.modeling_t5 import T5Attention

from decoders import experts_apart, formula
from golden import save, versions

INPUT, HIDDEN, BATCH, LENGTH = 3, 4, 2, 5


def recurrent(kind: str, layers: int, bidirectional: bool) -> dict[str, torch.Tensor]:
    module = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](
        INPUT, HIDDEN, num_layers=layers, bidirectional=bidirectional, batch_first=True)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(2 * formula(name, tuple(parameter.shape)))
    output, _ = module(4 * formula("input", (BATCH, LENGTH, INPUT)).float())
    (output * formula("loss", tuple(output.shape)).float()).sum().backward()
    gradients = {f"{kind}.gradient.{name}": p.grad for name, p in module.named_parameters()}
    return {f"{kind}.output": output, **gradients}


def batch_norm() -> dict[str, torch.Tensor]:
    module = nn.BatchNorm1d(INPUT, eps=0.1, momentum=0.3)
    with torch.no_grad():
        module.weight.copy_(1 + formula("weight", (INPUT,)))
        module.bias.copy_(formula("bias", (INPUT,)))
    x = 4 * formula("input", (BATCH, LENGTH, INPUT)).float()
    rows = x.flatten(0, 1)
    training = module(rows)
    module.eval()
    return {"batchNorm.training": training, "batchNorm.evaluation": module(rows),
            "batchNorm.runningMean": module.running_mean, "batchNorm.runningVar": module.running_var}


def shared_experts() -> dict[str, torch.Tensor]:
    """DeepSeek's mixture: its shared experts are one block, as wide as all of them."""
    experts, shared, width, chosen = 4, 2, 5, 2
    module = DeepseekV2Moe(DeepseekV2Config(
        hidden_size=HIDDEN, num_attention_heads=1, moe_intermediate_size=width, n_routed_experts=experts, n_shared_experts=shared,
        num_experts_per_tok=chosen, topk_method="greedy", routed_scaling_factor=1.0, experts_implementation="eager"))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(2 * formula(name, tuple(parameter.shape)))
    x = (4 * formula("input", (BATCH, LENGTH, HIDDEN)).float()).requires_grad_()
    output = module(x)
    (output * formula("loss", tuple(output.shape)).float()).sum().backward()

    def apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each expert by itself."""
        result = experts_apart("", "gate_proj", "up_proj", "down_proj")(tensors)
        for kind, axis in (("gate", 0), ("up", 0), ("down", 1)):
            parts = result.pop(f"shared_experts.{kind}_proj.weight").chunk(shared, axis)
            result |= {f"shared_experts.{i}.{kind}_proj.weight": part for i, part in enumerate(parts)}
        return result

    parameters = apart(dict(module.named_parameters()))
    gradients = apart({name: p.grad for name, p in module.named_parameters()})
    return {"mixture.output": output, "mixture.gradient.input": x.grad,
            **{f"mixture.parameter.{name}": tensor for name, tensor in parameters.items()},
            **{f"mixture.gradient.{name}": tensor for name, tensor in gradients.items()}}


def relative_buckets() -> dict[str, torch.Tensor]:
    distance = torch.arange(-300, 301)
    bucket = T5Attention._relative_position_bucket
    return {"buckets.bidirectional": bucket(distance, bidirectional=True, num_buckets=32, max_distance=128),
            "buckets.causal": bucket(distance, bidirectional=False, num_buckets=32, max_distance=128)}


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    tensors = {**recurrent("rnn", 1, False), **recurrent("gru", 2, True), **recurrent("lstm", 2, True), **batch_norm(),
               **shared_experts(), **relative_buckets()}
    what = "recurrent networks, batch normalization, a mixture with shared experts, T5's buckets; float32, weights by formula"
    save("blocks", tensors, {"what": what})
