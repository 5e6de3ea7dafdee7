"""Six steps with an EMA teacher, in PyTorch -> golden/teacher.

Student and teacher are y = head(tanh(norm(body(x)))): two linear maps with a BatchNorm1d between them. Each step the student, in
training mode, is pulled to targets and to what the teacher, in evaluation mode, says of the same inputs:

  loss = mse(student(x), y) + mse(student(x), teacher(x).detach())

AdamW updates the student; then the teacher's weights become DECAY * teacher + (1 - DECAY) * student, with the student's new weights,
and the teacher's running statistics become the student's new ones in the same way. Row i of every `steps.*` tensor belongs to step
i + 1; weights and statistics are those after that step. `twice.*`: running statistics after one step in which a BatchNorm1d in training
mode runs on two batches, one after the other.

Run: python reference/teacher.py        (see reference/golden.py for the setup)
"""

import copy

import torch

from golden import save, versions

STEPS, DECAY = 6, 0.9
LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY = 0.05, (0.9, 0.95), 1e-8, 0.1
MOMENTUM, NORM_EPSILON = 0.1, 1e-5
ROWS, INPUT, HIDDEN, OUTPUT = 8, 5, 6, 3


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(INPUT, HIDDEN, bias=False)  # a norm follows: the gradient of a bias would be noise
        self.norm = torch.nn.BatchNorm1d(HIDDEN, eps=NORM_EPSILON, momentum=MOMENTUM)
        self.head = torch.nn.Linear(HIDDEN, OUTPUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.norm(self.body(x))))


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items() if "num_batches" not in name}


def main() -> None:
    generator = torch.Generator().manual_seed(11)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    student = Network()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.copy_(random(*parameter.shape))
    teacher = copy.deepcopy(student)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.3 * random(*parameter.shape))
    student.train()
    teacher.eval()

    inputs, targets = random(STEPS, ROWS, INPUT), random(STEPS, ROWS, OUTPUT)
    tensors = {"x": inputs, "y": targets}
    tensors |= {f"start.{root}.{name}": value for root, module in (("student", student), ("teacher", teacher)) for name, value in state(module).items()}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in student.parameters() if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in student.parameters() if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        betas=BETAS,
        eps=EPSILON,
    )
    history: dict[str, list[torch.Tensor]] = {}
    mse = torch.nn.functional.mse_loss
    for x, y in zip(inputs, targets):
        optimizer.zero_grad()
        predicted = student(x)
        loss = mse(predicted, y) + mse(predicted, teacher(x).detach())
        loss.backward()
        optimizer.step()
        new = state(student)
        with torch.no_grad():
            for name, value in teacher.state_dict().items():
                if name in new:
                    value.copy_(DECAY * value + (1 - DECAY) * new[name])
        for root, module in (("student", student), ("teacher", teacher)):
            for name, value in state(module).items():
                history.setdefault(f"steps.{root}.{name}", []).append(value)
        history.setdefault("steps.loss", []).append(loss.detach())
    tensors |= {name: torch.stack(values) for name, values in history.items()}

    norm = torch.nn.BatchNorm1d(INPUT, eps=NORM_EPSILON, momentum=MOMENTUM).train()
    norm(inputs[0])
    norm(inputs[1])
    tensors |= {f"twice.{name}": value for name, value in state(norm).items() if name.startswith("running")}

    config = {
        "steps": STEPS,
        "decay": DECAY,
        "learningRate": LEARNING_RATE,
        "betas": BETAS,
        "epsilon": EPSILON,
        "weightDecay": {"matrices": WEIGHT_DECAY, "vectors": 0.0},
    }
    save("teacher", tensors, {"model": __doc__.split("\n\n")[1].replace("\n", " "), "config": config})


if __name__ == "__main__":
    print(versions())
    torch.set_num_threads(1)
    main()
