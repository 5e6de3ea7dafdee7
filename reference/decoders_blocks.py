"""Blocks as PyTorch and transformers compute them -> golden/blocks.

Run: python reference/decoders_blocks.py        (see reference/golden.py for the setup)

Weights and inputs are by formula (reference/decoders.py). Outputs are kept whole; of gradients norms and projections.
"""

import torch
from torch import nn
from transformers.models.t5.modeling_t5 import T5Attention

from decoders import formula, projections
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
    gradients = {f"{kind}.gradient.{name}": projections(name, p.grad) for name, p in module.named_parameters()}
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


def relative_buckets() -> dict[str, torch.Tensor]:
    distance = torch.arange(-300, 301)
    bucket = T5Attention._relative_position_bucket
    return {"buckets.bidirectional": bucket(distance, bidirectional=True, num_buckets=32, max_distance=128),
            "buckets.causal": bucket(distance, bidirectional=False, num_buckets=32, max_distance=128)}


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    tensors = {**recurrent("rnn", 1, False), **recurrent("gru", 2, True), **recurrent("lstm", 2, True), **batch_norm(),
               **relative_buckets()}
    save("blocks", tensors, {"what": "recurrent networks, batch normalization, T5's buckets; float32, weights by formula"})
