"""Twenty steps of each optimizer on a tiny network, and learning-rate schedules -> golden/optimizers.

The network is that of adamw.py: y = tanh(x weight1 + bias1) weight2 + bias2 with the mean squared error. Row i of `NAME.PARAMETER`
is the parameter after step i + 1. The learning rate is constant. Muon trains the matrices and AdamW the biases, in float32: torch
would orthogonalize in bfloat16.

Run: python reference/optimizers.py        (see reference/golden.py for the setup; needs lion-pytorch 0.2 besides)
"""

import copy
from importlib.metadata import version

import torch
from lion_pytorch import Lion
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import get_constant_schedule_with_warmup, get_inverse_sqrt_schedule, get_linear_schedule_with_warmup, get_wsd_schedule
from transformers.optimization import Adafactor as TransformersAdafactor

import torch.optim._muon as torch_muon
from golden import save

STEPS, WARMUP = 20, 4


class Float32(torch.Tensor):
    """A tensor that stays float32 when Muon asks for bfloat16."""

    def to(self, *_args, **_options):
        return self.as_subclass(torch.Tensor).clone()


def in_float32(function):
    return lambda grad, *rest: function(grad.as_subclass(Float32), *rest)


torch_muon._zeropower_via_newtonschulz = in_float32(torch_muon._zeropower_via_newtonschulz)


class Together:
    """Two optimizers in one step."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()


def matrices(p):
    return [p["weight1"], p["weight2"]]


def vectors(p):
    return [p["bias1"], p["bias2"]]


def everything(p):
    return list(p.values())


def muon(**options):
    return lambda p: Together(
        torch.optim.Muon(matrices(p), lr=0.02, weight_decay=0.1, **options),
        torch.optim.AdamW(vectors(p), lr=0.02, betas=(0.9, 0.95), weight_decay=0.1),
    )


OPTIMIZERS = {
    "muon": muon(),
    "muonMatched": muon(adjust_lr_fn="match_rms_adamw", nesterov=False),
    "lion": lambda p: Lion(everything(p), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(everything(p), lr=0.05),
    "sgdMomentum": lambda p: torch.optim.SGD(everything(p), lr=0.05, momentum=0.9, weight_decay=0.01),
    "sgdNesterov": lambda p: torch.optim.SGD(everything(p), lr=0.05, momentum=0.9, nesterov=True),
    "adafactor": lambda p: torch.optim.Adafactor(everything(p), lr=0.1, weight_decay=0.05),
    "adafactorTransformers": lambda p: TransformersAdafactor(everything(p), lr=0.02, scale_parameter=False, relative_step=False, warmup_init=False),
}


def rates(make) -> torch.Tensor:
    """transformers begins its warm-up at a rate of 0: row i is its step i + 1, with one step more of warm-up and in all."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = make(optimizer)
    found = []
    for _ in range(STEPS + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return torch.tensor(found[1:])


def main() -> None:
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    x, y = random(8, 5), random(8, 3)
    start = {"weight1": random(5, 6), "bias1": random(6), "weight2": random(6, 3), "bias2": random(3)}
    tensors = {"x": x, "y": y, **{f"start.{name}": value for name, value in start.items()}}
    for optimizer_name, make in OPTIMIZERS.items():
        parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
        module = torch.nn.ParameterDict(parameters)
        optimizer = make(parameters)
        average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.8)) if optimizer_name == "sgd" else None
        history: dict[str, list[torch.Tensor]] = {}
        for _ in range(STEPS):
            for parameter in parameters.values():
                parameter.grad = None
            hidden = torch.tanh(x @ parameters["weight1"] + parameters["bias1"])
            torch.nn.functional.mse_loss(hidden @ parameters["weight2"] + parameters["bias2"], y).backward()
            optimizer.step()
            if average:
                average.update_parameters(module)
            for name, parameter in parameters.items():
                history.setdefault(f"{optimizer_name}.{name}", []).append(parameter.detach().clone())
                if average:
                    history.setdefault(f"average.{name}", []).append(copy.deepcopy(average.module[name].detach()))
        tensors |= {key: torch.stack(values) for key, values in history.items()}
    shared = {"num_warmup_steps": WARMUP + 1}
    whole = {**shared, "num_training_steps": STEPS + 1}
    tensors |= {
        "schedule.constant": rates(lambda o: get_constant_schedule_with_warmup(o, **shared)),
        "schedule.linear": rates(lambda o: get_linear_schedule_with_warmup(o, **whole)),
        "schedule.inverseSquareRoot": rates(lambda o: get_inverse_sqrt_schedule(o, **shared, timescale=6)),
        "schedule.wsdLinear": rates(lambda o: get_wsd_schedule(o, **whole, num_decay_steps=8, decay_type="linear", min_lr_ratio=0.1)),
        "schedule.wsdCosine": rates(lambda o: get_wsd_schedule(o, **whole, num_decay_steps=8, decay_type="cosine", min_lr_ratio=0.1)),
        "schedule.wsdRoot": rates(lambda o: get_wsd_schedule(o, **whole, num_decay_steps=8, decay_type="1-sqrt", min_lr_ratio=0.1)),
    }
    config = {"steps": STEPS, "warmup": WARMUP, "peak": 0.5, "lion-pytorch": version("lion-pytorch")}
    save("optimizers", tensors, {"about": __doc__.split("\n\n")[1].replace("\n", " "), "config": config})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
