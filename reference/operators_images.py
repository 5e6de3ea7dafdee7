"""Operators on images, as PyTorch computes them (in float64) -> golden/operators-images.

Cases as in operators.py.

Run: python reference/operators_images.py        (see reference/golden.py for the setup)
"""

import torch
import torch.nn.functional as F

from golden import save, versions
from operators import case, cases, generator, random, tensors

generator.manual_seed(23)


def distinct(*shape: int) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return (torch.randperm(count, generator=generator) - count // 2).double().reshape(shape) / 8


def resizes() -> None:
    image = random(1, 2, 5, 7)
    sizes = {"larger": [8, 10], "smaller": [3, 2], "mixed": [9, 4]}
    for mode, ours in (("nearest", "nearest"), ("nearest-exact", "nearestExact")):
        for name, size in sizes.items():
            case(f"resize_{ours}_{name}", "resize", {"x": image}, lambda x, m=mode, s=size: F.interpolate(x, s, mode=m), size=size, mode=ours)
    for mode, ours in (("bilinear", "linear"), ("bicubic", "cubic")):
        for name, size in sizes.items():
            for align in (False, True):
                case(f"resize_{ours}_{name}{'_aligned' if align else ''}", "resize", {"x": image},
                     lambda x, m=mode, s=size, a=align: F.interpolate(x, s, mode=m, align_corners=a), size=size, mode=ours, alignCorners=align)
            case(f"resize_{ours}_{name}_antialias", "resize", {"x": image},
                 lambda x, m=mode, s=size: F.interpolate(x, s, mode=m, antialias=True), size=size, mode=ours, antialias=True)
        case(f"resize_{ours}_scale", "resize", {"x": image}, lambda x, m=mode: F.interpolate(x, scale_factor=[1.7, 0.6], mode=m),
             scale=[1.7, 0.6], mode=ours)
    case("resize_nearest_scale", "resize", {"x": image}, lambda x: F.interpolate(x, scale_factor=[1.7, 0.6]), scale=[1.7, 0.6], mode="nearest")
    case("resize_line", "resize", {"x": random(2, 1, 4)}, lambda x: F.interpolate(x, [7], mode="linear"), size=[7], mode="linear")
    case("resize_volume", "resize", {"x": random(1, 1, 2, 3, 4)}, lambda x: F.interpolate(x, [3, 2, 6], mode="trilinear"),
         size=[3, 2, 6], mode="linear")
    case("resize_to_one_aligned", "resize", {"x": image}, lambda x: F.interpolate(x, [1, 3], mode="bilinear", align_corners=True),
         size=[1, 3], mode="linear", alignCorners=True)


def samples() -> None:
    image, grid = random(2, 3, 4, 5), random(2, 3, 4, 2)
    for mode in ("bilinear", "nearest"):
        for padding in ("zeros", "border", "reflection"):
            for align in (False, True):
                case(f"grid_sample_{mode}_{padding}{'_aligned' if align else ''}", "gridSample", {"x": image, "grid": grid},
                     lambda x, g, m=mode, p=padding, a=align: F.grid_sample(x, g if m == "bilinear" else g.detach(), m, p, a),
                     mode=mode, padding=padding, alignCorners=align)


def windows() -> None:
    image = random(2, 3, 6, 7)
    for name, kernel, dilation, padding, stride in (("plain", [2, 3], [1, 1], [0, 0], [1, 1]), ("strided", [3, 2], [1, 2], [1, 2], [2, 3])):
        options = {"kernel": kernel, "dilation": dilation, "padding": padding, "stride": stride}
        case(f"unfold_{name}", "unfold", {"x": image}, lambda x, k=kernel, d=dilation, p=padding, s=stride: F.unfold(x, k, d, p, s), **options)
        columns = F.unfold(image, kernel, dilation, padding, stride)
        case(f"fold_{name}", "fold", {"columns": random(*columns.shape)},
             lambda x, k=kernel, d=dilation, p=padding, s=stride: F.fold(x, [6, 7], k, d, p, s), size=[6, 7], **options)
    case("conv3d", "conv3d", {"x": random(1, 4, 4, 5, 3), "weight": random(4, 2, 2, 3, 2), "bias": random(4)},
         lambda x, w, b: F.conv3d(x, w, b, [1, 2, 1], [1, 0, 1], [1, 1, 2], 2), stride=[1, 2, 1], padding=[1, 0, 1], dilation=[1, 1, 2], groups=2)
    case("conv_transpose3d", "convTranspose3d", {"x": random(1, 2, 2, 3, 2), "weight": random(2, 3, 2, 3, 2), "bias": random(3)},
         lambda x, w, b: F.conv_transpose3d(x, w, b, [2, 1, 2], [0, 1, 0], [1, 0, 0]), stride=[2, 1, 2], padding=[0, 1, 0], outputPadding=[1, 0, 0])


def pools() -> None:
    image, volume = distinct(2, 2, 6, 7), distinct(1, 2, 4, 5, 6)
    for size in ([3, 2], [4, 5], [1, 1], [6, 7]):
        name = "x".join(map(str, size))
        case(f"adaptive_avg_pool_{name}", "adaptiveAvgPool", {"x": image}, lambda x, s=size: F.adaptive_avg_pool2d(x, s), size=size)
        case(f"adaptive_max_pool_{name}", "adaptiveMaxPool", {"x": image}, lambda x, s=size: F.adaptive_max_pool2d(x, s), size=size)
    case("adaptive_avg_pool_volume", "adaptiveAvgPool", {"x": volume}, lambda x: F.adaptive_avg_pool3d(x, [3, 2, 4]), size=[3, 2, 4])
    case("max_pool3d", "maxPool3d", {"x": volume}, lambda x: F.max_pool3d(x, [2, 3, 2], [1, 2, 2], [1, 1, 0]),
         kernel=[2, 3, 2], stride=[1, 2, 2], padding=[1, 1, 0])
    case("avg_pool3d", "avgPool3d", {"x": volume}, lambda x: F.avg_pool3d(x, [2, 3, 2], [1, 2, 2], [1, 1, 0]),
         kernel=[2, 3, 2], stride=[1, 2, 2], padding=[1, 1, 0])
    # The last window begins inside (7 columns), in the padding on the right (dropped), or covers less.
    for name, kernel, stride, padding in (("", [3, 2], [2, 2], [0, 0]), ("_padded", [2, 3], [3, 3], [1, 1]), ("_dropped", [2, 2], [4, 4], [1, 1])):
        options = {"kernel": kernel, "stride": stride, "padding": padding, "ceilMode": True}
        case(f"max_pool2d_ceil{name}", "maxPool2d", {"x": image},
             lambda x, k=kernel, s=stride, p=padding: F.max_pool2d(x, k, s, p, ceil_mode=True), **options)
        for count in (True, False):
            case(f"avg_pool2d_ceil{name}{'' if count else '_uncounted'}", "avgPool2d", {"x": image},
                 lambda x, k=kernel, s=stride, p=padding, c=count: F.avg_pool2d(x, k, s, p, True, c), countPadding=count, **options)


def norms() -> None:
    x, weight, bias = random(3, 4, 2, 3, scale=2) + 1, random(4), random(4)
    case("batch_norm", "batchNorm", {"x": x, "weight": weight, "bias": bias},
         lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=0.1), epsilon=0.1)
    case("instance_norm", "instanceNorm", {"x": x, "weight": weight, "bias": bias},
         lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=0.1), epsilon=0.1)


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    for family in (resizes, samples, windows, pools, norms):
        family()
    save("operators-images", tensors, {"cases": cases})
    print(f"{len(cases)} cases")
