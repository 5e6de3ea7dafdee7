"""Operators whose conventions matter, as PyTorch computes them (in float64) -> golden/operators.

golden/operators.json lists the cases. Tensors are named `<case>/input/<name>`, `<case>/output/<name>`,
`<case>/upstream/<name>` (the gradient that arrives at that output) and `<case>/gradient/<input name>`.
A case without upstream and gradient is not differentiated.

Run: python reference/operators.py        (see reference/golden.py for the setup)
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from golden import save, versions

Tensors = dict[str, torch.Tensor]

generator = torch.Generator().manual_seed(5)
tensors: Tensors = {}
cases: list[dict] = []


def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
    """Exactly representable in float32, computed with in float64."""
    return (torch.randn(shape, generator=generator) * scale).double()


def case(name: str, operator: str, inputs: Tensors, compute: Callable[..., torch.Tensor | Tensors], **attributes) -> None:
    """Differentiates every floating-point output with respect to every floating-point input. `inputs` are passed by position."""
    leaves = {key: value.clone().requires_grad_(value.is_floating_point()) for key, value in inputs.items()}
    outputs = compute(*leaves.values())
    if isinstance(outputs, torch.Tensor):
        outputs = {"y": outputs}
    differentiable = {key: value for key, value in outputs.items() if value.requires_grad}
    upstream = {key: random(*value.shape) for key, value in differentiable.items()}
    torch.autograd.backward(list(differentiable.values()), list(upstream.values()))

    for kind, group in (("input", inputs), ("output", outputs), ("upstream", upstream)):
        for key, value in group.items():
            tensors[f"{name}/{kind}/{key}"] = value
    for key, leaf in leaves.items():
        if leaf.grad is not None:
            tensors[f"{name}/gradient/{key}"] = leaf.grad
    cases.append({"name": name, "operator": operator, "attributes": attributes, "inputs": list(inputs), "outputs": list(outputs)})


def norms() -> None:
    x, weight, bias = random(2, 3, 6, scale=3), random(6), random(6)
    case("layer_norm", "layerNorm", {"x": x, "weight": weight, "bias": bias},
         lambda x, w, b: F.layer_norm(x, (6,), w, b, 1e-5), epsilon=1e-5)
    case("rms_norm", "rmsNorm", {"x": x, "weight": weight}, lambda x, w: F.rms_norm(x, (6,), w, 1e-5), epsilon=1e-5)
    # A large epsilon shows whether it is added inside the square root.
    case("rms_norm_epsilon", "rmsNorm", {"x": x, "weight": weight}, lambda x, w: F.rms_norm(x, (6,), w, 0.5), epsilon=0.5)
    case("layer_norm_epsilon", "layerNorm", {"x": x, "weight": weight, "bias": bias},
         lambda x, w, b: F.layer_norm(x, (6,), w, b, 0.5), epsilon=0.5)
    case("group_norm", "groupNorm", {"x": random(2, 6, 5), "weight": weight, "bias": bias},
         lambda x, w, b: F.group_norm(x, 2, w, b, 1e-5), groups=2, epsilon=1e-5)


def activations() -> None:
    # Large values too: an activation must not overflow, nor its gradient become NaN.
    x = torch.cat([torch.linspace(-6, 6, 25), torch.tensor([-100.0, -20.0, 20.0, 21.0, 100.0])]).double()
    for name, operator, compute, attributes in (
        ("gelu_exact", "gelu", F.gelu, {"approximate": "none"}),
        ("gelu_tanh", "gelu", lambda x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}),
        ("silu", "silu", F.silu, {}),
        ("softplus", "softplus", lambda x: F.softplus(x, threshold=1e9), {"note": "log(1 + exp(x)) everywhere, no linear threshold"}),
    ):
        case(name, operator, {"x": x}, compute, **attributes)


def losses() -> None:
    logits = random(2, 5, 7, scale=3)
    labels = torch.randint(0, 7, (2, 5), generator=generator)
    labels[0, 0] = labels[1, 3] = labels[1, 4] = -100
    for reduction in ("mean", "sum", "none"):
        case(f"cross_entropy_{reduction}", "crossEntropy", {"logits": logits, "labels": labels},
             lambda x, t, reduction=reduction: F.cross_entropy(x.flatten(0, 1), t.flatten(), reduction=reduction),
             ignoreIndex=-100, reduction=reduction)
    case("cross_entropy_smoothed", "crossEntropy", {"logits": logits, "labels": labels},
         lambda x, t: F.cross_entropy(x.flatten(0, 1), t.flatten(), label_smoothing=0.1),
         ignoreIndex=-100, reduction="mean", labelSmoothing=0.1)
    # Logits far out: softmax must subtract the maximum.
    case("cross_entropy_large", "crossEntropy", {"logits": logits * 100, "labels": labels},
         lambda x, t: F.cross_entropy(x.flatten(0, 1), t.flatten()), ignoreIndex=-100, reduction="mean")


def convolutions() -> None:
    def convolution(name: str, operator: str, function, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, **attributes) -> None:
        torch_names = {"outputPadding": "output_padding"}
        arguments = {torch_names.get(key, key): value for key, value in attributes.items()}
        case(name, operator, {"x": x, "weight": weight, "bias": bias}, lambda x, w, b: function(x, w, b, **arguments), **attributes)

    # x [batch, channels, ...], weight [outChannels, channels / groups, ...]
    convolution("conv1d", "conv1d", F.conv1d, random(2, 3, 9), random(4, 3, 3), random(4), stride=1, padding=0, dilation=1, groups=1)
    convolution("conv1d_strided", "conv1d", F.conv1d, random(2, 4, 10), random(6, 2, 3), random(6), stride=2, padding=2, dilation=2, groups=2)
    convolution("conv1d_depthwise", "conv1d", F.conv1d, random(2, 4, 8), random(4, 1, 4), random(4), stride=1, padding=3, dilation=1, groups=4)
    convolution("conv2d", "conv2d", F.conv2d, random(2, 3, 6, 5), random(4, 3, 3, 2), random(4), stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1)
    convolution("conv2d_strided", "conv2d", F.conv2d, random(2, 4, 8, 7), random(4, 2, 3, 2), random(4), stride=[2, 3], padding=[2, 1], dilation=[2, 1], groups=2)
    # Patches of a vision transformer: the last column of x is not covered by any window.
    convolution("conv2d_patches", "conv2d", F.conv2d, random(1, 3, 4, 5), random(5, 3, 2, 2), random(5), stride=[2, 2], padding=[0, 0], dilation=[1, 1], groups=1)

    # x [batch, channels, ...], weight [channels, outChannels / groups, ...]
    convolution("conv_transpose1d", "convTranspose1d", F.conv_transpose1d, random(2, 3, 5), random(3, 4, 3), random(4),
                stride=1, padding=0, dilation=1, groups=1, outputPadding=0)
    convolution("conv_transpose1d_strided", "convTranspose1d", F.conv_transpose1d, random(2, 4, 5), random(4, 3, 3), random(6),
                stride=3, padding=1, dilation=2, groups=2, outputPadding=2)
    convolution("conv_transpose2d", "convTranspose2d", F.conv_transpose2d, random(2, 3, 3, 4), random(3, 2, 3, 2), random(2),
                stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1, outputPadding=[0, 0])
    convolution("conv_transpose2d_strided", "convTranspose2d", F.conv_transpose2d, random(2, 4, 3, 4), random(4, 1, 3, 2), random(2),
                stride=[2, 3], padding=[1, 0], dilation=[1, 2], groups=2, outputPadding=[1, 2])


def pools() -> None:
    # Distinct values: the gradient of a maximum is then unambiguous.
    def distinct(*shape: int) -> torch.Tensor:
        count = torch.Size(shape).numel()
        return (torch.randperm(count, generator=generator) - count // 2).double().reshape(shape) / 8

    x1, x2 = distinct(2, 3, 9), distinct(2, 2, 6, 7)
    for name, x, kernel, stride, padding, dilation in (
        ("max_pool1d", x1, 3, 3, 0, 1),
        ("max_pool1d_overlapping", x1, 3, 2, 1, 2),
        ("max_pool2d", x2, [2, 2], [2, 2], [0, 0], [1, 1]),
        ("max_pool2d_overlapping", x2, [3, 2], [2, 1], [1, 1], [1, 2]),
    ):
        function, operator = (F.max_pool1d, "maxPool1d") if x is x1 else (F.max_pool2d, "maxPool2d")
        case(name, operator, {"x": x}, lambda x, f=function, k=kernel, s=stride, p=padding, d=dilation: f(x, k, s, p, d),
             kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    for name, x, kernel, stride, padding, count_padding in (
        ("avg_pool1d", x1, 3, 3, 0, True),
        ("avg_pool1d_padding_counted", x1, 3, 2, 1, True),
        ("avg_pool1d_padding_not_counted", x1, 3, 2, 1, False),
        ("avg_pool2d", x2, [2, 2], [2, 2], [0, 0], True),
        ("avg_pool2d_padding_counted", x2, [3, 2], [2, 1], [1, 1], True),
        ("avg_pool2d_padding_not_counted", x2, [3, 2], [2, 1], [1, 1], False),
    ):
        function, operator = (F.avg_pool1d, "avgPool1d") if x is x1 else (F.avg_pool2d, "avgPool2d")
        case(name, operator, {"x": x}, lambda x, f=function, k=kernel, s=stride, p=padding, c=count_padding: f(x, k, s, p, count_include_pad=c),
             kernel=kernel, stride=stride, padding=padding, countPadding=count_padding)


def attention() -> None:
    # Rotary positions as Hugging Face's Llama has them: element i is rotated with element i + headDim / 2.
    head_dim, theta, positions = 8, 10000.0, torch.tensor([[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]])
    inverse_frequency = theta ** (-torch.arange(0, head_dim, 2).double() / head_dim)
    angles = positions[..., None].double() * inverse_frequency
    cos, sin = (torch.cat([f(angles), f(angles)], dim=-1) for f in (torch.cos, torch.sin))
    case("rope", "rope", {"q": random(2, 2, 5, head_dim), "positions": positions},
         lambda q, _: apply_rotary_pos_emb(q, q, cos, sin)[0], theta=theta, headDim=head_dim,
         note="q [batch, heads, seq, headDim], positions [batch, seq], half rotation")

    def qkv(key_heads: int = 2, queries: int = 4, keys: int = 4) -> Tensors:
        return {"q": random(2, 2, queries, 6), "k": random(2, key_heads, keys, 6), "v": random(2, key_heads, keys, 6)}

    attend = F.scaled_dot_product_attention
    case("attention", "scaledDotProductAttention", qkv(keys=5), attend, causal=False)
    case("attention_causal", "scaledDotProductAttention", qkv(), lambda q, k, v: attend(q, k, v, is_causal=True), causal=True)
    case("attention_grouped", "scaledDotProductAttention", qkv(key_heads=1),
         lambda q, k, v: attend(q, k, v, is_causal=True, enable_gqa=True), causal=True, note="one key head serves both query heads")
    allowed = torch.rand((2, 1, 4, 5), generator=generator) > 0.4
    allowed[..., 0] = True  # no query without any key
    case("attention_masked", "scaledDotProductAttention", {**qkv(keys=5), "mask": allowed},
         lambda q, k, v, mask: attend(q, k, v, attn_mask=mask), causal=False, note="mask [batch, 1, queries, keys]: true may be seen")
    case("attention_scaled", "scaledDotProductAttention", qkv(keys=5), lambda q, k, v: attend(q, k, v, scale=0.7), causal=False, scale=0.7)


def selection() -> None:
    x = random(2, 3, 5)
    for axis in (0, 1, -1):
        case(f"cumsum_axis{axis}", "cumsum", {"x": x}, lambda x, axis=axis: torch.cumsum(x, axis), axis=axis)

    def top(x: torch.Tensor, axis: int, largest: bool) -> Tensors:
        values, indices = torch.topk(x, 2, dim=axis, largest=largest, sorted=True)
        return {"values": values, "indices": indices}

    case("topk", "topK", {"x": x}, lambda x: top(x, -1, True), k=2, axis=-1, largest=True)
    case("topk_smallest", "topK", {"x": x}, lambda x: top(x, 1, False), k=2, axis=1, largest=False)


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    for family in (norms, activations, losses, convolutions, pools, attention, selection):
        family()
    save("operators", tensors, {"conventions": __doc__.split("\n\n")[1].replace("\n", " "), "cases": cases})
    print(f"{len(cases)} cases")
