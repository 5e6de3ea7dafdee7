"""Twenty steps of torch.optim.AdamW on a tiny network -> golden/adamw.

The network is y = tanh(x weight1 + bias1) weight2 + bias2 with the mean squared error. Weight matrices decay, biases do not
and learn twice as fast (parameter groups); gradients are clipped to a norm of 1; the learning rate warms up, then follows a
cosine. Row i of every `steps.*` tensor belongs to step i + 1; parameters and moments are those after that step.

Run: python reference/adamw.py        (see reference/golden.py for the setup)
"""

import math

import torch
from transformers import get_cosine_schedule_with_warmup

from golden import save, versions

STEPS, WARMUP = 20, 4
LEARNING_RATE, MINIMUM = 0.05, 0.005
BETAS, EPSILON, WEIGHT_DECAY, CLIP_NORM, BIAS_FACTOR = (0.9, 0.95), 1e-8, 0.1, 1.0, 2.0


def cosine_to_minimum(step: int) -> float:
    """The schedule of nanoGPT's train.py; `step` counts from 0."""
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / (WARMUP + 1)
    progress = (step - WARMUP) / (STEPS - WARMUP)
    return MINIMUM + (LEARNING_RATE - MINIMUM) * 0.5 * (1 + math.cos(math.pi * progress))


def cosine_to_zero() -> list[float]:
    """The schedule of transformers with the same peak and warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LEARNING_RATE)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=WARMUP, num_training_steps=STEPS)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def main() -> None:
    generator = torch.Generator().manual_seed(4)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    x, y = random(8, 5), random(8, 3)
    parameters = {
        "weight1": torch.nn.Parameter(random(5, 6)),
        "bias1": torch.nn.Parameter(random(6)),
        "weight2": torch.nn.Parameter(random(6, 3)),
        "bias2": torch.nn.Parameter(random(3)),
    }
    tensors = {"x": x, "y": y, **{f"parameter.{name}": value.detach().clone() for name, value in parameters.items()}}

    optimizer = torch.optim.AdamW(
        [
            {"params": [parameters["weight1"], parameters["weight2"]], "weight_decay": WEIGHT_DECAY},
            {"params": [parameters["bias1"], parameters["bias2"]], "weight_decay": 0.0},
        ],
        betas=BETAS,
        eps=EPSILON,
    )

    history: dict[str, list[torch.Tensor]] = {}

    def record(key: str, value: torch.Tensor) -> None:
        history.setdefault(f"steps.{key}", []).append(value.detach().clone())

    for step in range(STEPS):
        rate = cosine_to_minimum(step)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.param_groups[1]["lr"] = rate * BIAS_FACTOR

        optimizer.zero_grad()
        hidden = torch.tanh(x @ parameters["weight1"] + parameters["bias1"])
        loss = torch.nn.functional.mse_loss(hidden @ parameters["weight2"] + parameters["bias2"], y)
        loss.backward()

        record("loss", loss)
        record("learningRate", torch.tensor(rate))
        for name, parameter in parameters.items():
            record(f"gradient.{name}", parameter.grad)  # before clipping
        record("gradientNorm", torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP_NORM))  # before clipping
        optimizer.step()
        for name, parameter in parameters.items():
            record(f"parameter.{name}", parameter)
            record(f"firstMoment.{name}", optimizer.state[parameter]["exp_avg"])
            record(f"secondMoment.{name}", optimizer.state[parameter]["exp_avg_sq"])

    tensors |= {key: torch.stack(values) for key, values in history.items()}
    tensors["schedule.cosineToZero"] = torch.tensor(cosine_to_zero())
    norms = tensors["steps.gradientNorm"]
    assert (norms > CLIP_NORM).any() and (norms < CLIP_NORM).any(), "some steps must be clipped and some not"

    conventions = {
        "steps": "row i belongs to step i + 1; loss, gradients and gradientNorm are those before clipping and updating",
        "clipping": "gradients * min(1, clipNorm / (gradientNorm + 1e-6)), one norm over all parameters (torch clip_grad_norm_)",
        "learningRate": "peak * (step + 1) / (warmup + 1) for step < warmup, then half a cosine from the peak to the minimum; step from 0",
        "schedule.cosineToZero": "transformers get_cosine_schedule_with_warmup: peak * step / warmup, then half a cosine to 0; step from 0",
    }
    config = {
        "steps": STEPS,
        "warmup": WARMUP,
        "learningRate": LEARNING_RATE,
        "minimumLearningRate": MINIMUM,
        "betas": BETAS,
        "epsilon": EPSILON,
        "weightDecay": {"weight1": WEIGHT_DECAY, "weight2": WEIGHT_DECAY, "bias1": 0.0, "bias2": 0.0},
        "learningRateFactor": {"weight1": 1.0, "weight2": 1.0, "bias1": BIAS_FACTOR, "bias2": BIAS_FACTOR},
        "clipNorm": CLIP_NORM,
    }
    save("adamw", tensors, {"model": __doc__.split("\n\n")[1].replace("\n", " "), "config": config, "conventions": conventions})
    print("gradient norms", [round(float(norm), 2) for norm in norms])


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    main()
