"""Operators on elements, positions and losses, as PyTorch computes them (in float64) -> golden/operators-elements.

Cases as in operators.py.

Run: python reference/operators_elements.py        (see reference/golden.py for the setup)
"""

import torch
import torch.nn.functional as F

from golden import save, versions
from operators import Tensors, case, cases, generator, random, tensors

generator.manual_seed(17)


def order(*shape: int) -> torch.Tensor:
    """Distinct values in random order, so that extremes are unambiguous."""
    count = torch.Size(shape).numel()
    return (torch.randperm(count, generator=generator) - count // 2).double().reshape(shape) / 8


def scatters() -> None:
    x, rows = order(5, 3), order(4, 3) + 1 / 16
    unique, repeated = torch.tensor([3, 0, 4, 1]), torch.tensor([3, 0, 3, 1])
    case("scatter_set", "scatterSet", {"x": x, "indices": unique, "updates": rows}, lambda x, i, u: x.index_copy(0, i, u), axis=0)
    case("scatter_set_axis1", "scatterSet", {"x": x.T, "indices": unique, "updates": rows.T},
         lambda x, i, u: x.index_copy(1, i, u), axis=1, updatesFirst=True)
    case("scatter_max", "scatterMax", {"x": x, "indices": repeated, "updates": rows},
         lambda x, i, u: x.scatter_reduce(0, i[:, None].expand(-1, 3), u, "amax"), axis=0)
    tied = torch.tensor([1.0, 2.0, 2.0, -1.0]).double()
    case("scatter_max_ties", "scatterMax", {"x": torch.tensor([2.0, 0.0]).double(), "indices": torch.tensor([0, 0, 1, 1]), "updates": tied},
         lambda x, i, u: x.scatter_reduce(0, i, u, "amax"), axis=0)
    along = torch.tensor([[2, 0], [1, 2], [0, 1], [1, 0], [2, 1]])
    case("scatter_set_along", "scatterSetAlong", {"x": x, "indices": along, "updates": order(5, 2)},
         lambda x, i, u: x.scatter(1, i, u), axis=1)
    places = torch.tensor([[[0, 1], [2, 0]], [[1, 1], [2, 2]]])
    grid = random(3, 3, 2)
    case("gather_nd", "gatherND", {"x": grid, "indices": places}, lambda x, i: x[i[..., 0], i[..., 1]])
    for reduction, accumulate in (("set", False), ("add", True)):
        case(f"scatter_nd_{reduction}", "scatterND", {"x": grid, "indices": places, "updates": random(2, 2, 2)},
             lambda x, i, u, a=accumulate: x.index_put((i[..., 0], i[..., 1]), u, accumulate=a), reduction=reduction)


def rearranged() -> None:
    x = random(3, 5)
    for shift, axis in ((2, 1), (-1, 0), (7, 1)):
        case(f"roll_{shift}_axis{axis}", "roll", {"x": x}, lambda x, s=shift, a=axis: torch.roll(x, s, a), shift=shift, axis=axis)
    cube = random(3, 4, 5)
    for offset, axes in ((0, (1, 2)), (2, (1, 2)), (-2, (0, 2)), (1, (2, 0)), (-3, (1, 0))):
        case(f"diagonal_{offset}_{axes[0]}{axes[1]}", "diagonal", {"x": cube},
             lambda x, o=offset, a=axes: torch.diagonal(x, o, a[0], a[1]), offset=offset, axes=list(axes))

    def ordered(x: torch.Tensor, axis: int, descending: bool) -> Tensors:
        values, indices = torch.sort(x, dim=axis, descending=descending, stable=True)
        return {"values": values, "indices": indices}

    few = torch.randint(0, 3, (3, 6), generator=generator).double()
    for name, x, axis, descending in (("sort", order(3, 5), 1, False), ("sort_descending", order(3, 5), 0, True),
                                      ("sort_ties", few, 1, False), ("sort_ties_descending", few, 1, True)):
        case(name, "sort", {"x": x}, lambda x, a=axis, d=descending: ordered(x, a, d), axis=axis, descending=descending)
    for name, x in (("", random(3, 5)), ("_ties", few)):
        case(f"cumulative_max{name}", "cumulativeMax", {"x": x}, lambda x: torch.cummax(x, 1).values, axis=1)
        case(f"cumulative_min{name}", "cumulativeMin", {"x": x}, lambda x: torch.cummin(x, 1).values, axis=1)
    zeros = random(3, 6)
    zeros[0, 2] = zeros[1, 1] = zeros[1, 4] = 0
    case("cumulative_product", "cumulativeProduct", {"x": zeros}, lambda x: torch.cumprod(x, 1), axis=1)


def elementary() -> None:
    small = torch.tensor([-0.75, -1e-3, -1e-9, 1e-12, 1e-6, 0.3, 0.7, 5.0, 300.0]).double()
    case("log1p", "log1p", {"x": small}, torch.log1p)
    case("expm1", "expm1", {"x": small[:-1]}, torch.expm1)
    case("log_sigmoid", "logSigmoid", {"x": torch.linspace(-90, 90, 13).double()}, F.logsigmoid)
    a = torch.tensor([1.0, 1.0, -1.0, -1.0, 0.0, 2.0, 1e-20, -3.0]).double()
    b = torch.tensor([2.0, -2.0, 2.0, -2.0, -1.0, 0.0, -5.0, 1e-20]).double()
    case("atan2", "atan2", {"a": a, "b": b}, torch.atan2)


def losses() -> None:
    logits, targets = random(4, 3, scale=5), torch.rand((4, 3), generator=generator).double()
    weight = torch.tensor([1.0, 2.5, 0.5]).double()
    for reduction in ("mean", "sum", "none"):
        case(f"binary_cross_entropy_{reduction}", "binaryCrossEntropy", {"logits": logits, "targets": targets},
             lambda x, t, r=reduction: F.binary_cross_entropy_with_logits(x, t, reduction=r), reduction=reduction)
    case("binary_cross_entropy_weighted", "binaryCrossEntropy", {"logits": logits * 20, "targets": targets.round(), "weight": weight},
         lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, pos_weight=w.detach()), reduction="mean")
    case("mean_squared_error", "meanSquaredError", {"x": logits, "targets": targets}, F.mse_loss)
    for delta in (1.0, 2.5):
        case(f"huber_{delta}", "huberLoss", {"x": logits, "targets": targets}, lambda x, t, d=delta: F.huber_loss(x, t, delta=d), delta=delta)
    logs, other = torch.log_softmax(logits, -1), torch.softmax(random(4, 3), -1)
    other[0] = torch.tensor([0.0, 1.0, 0.0]).double()
    for reduction, name in (("batchmean", "batchMean"), ("sum", "sum"), ("mean", "mean"), ("none", "none")):
        case(f"kl_divergence_{name}", "klDivergence", {"x": logs, "targets": other},
             lambda x, t, r=reduction: F.kl_div(x, t.detach(), reduction=r), reduction=name, logTargets=False)
    case("kl_divergence_logarithms", "klDivergence", {"x": logs, "targets": torch.log_softmax(random(4, 3), -1)},
         lambda x, t: F.kl_div(x, t, reduction="batchmean", log_target=True), reduction="batchMean", logTargets=True)


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    for family in (scatters, rearranged, elementary, losses):
        family()
    save("operators-elements", tensors, {"cases": cases})
    print(f"{len(cases)} cases")
