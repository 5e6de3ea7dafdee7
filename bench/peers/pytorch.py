"""PyTorch's side of the benches: a resident process that answers bench/driver.ts line by line (see bench/protocol.ts).

Started as `python pytorch.py '<PeerConfig as JSON>'` with
  task       "step" (one Llama-style training step), "matmul" (the matrix products of that step), "nanogpt" (a whole training)
  mode       "eager" or "compiled"
  precision  "fp32" or "bf16" (autocast; weights and moments stay fp32)
"""

import contextlib
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

# Only replies may reach standard output: whatever a library prints goes to standard error.
replies, sys.stdout = sys.stdout, sys.stderr

Config = dict[str, Any]
Reply = dict[str, Any]


def say(message: Reply) -> None:
    print(json.dumps(message), file=replies, flush=True)


config: Config = json.loads(sys.argv[1])
if config["mode"] == "compiled":
    # A compile time that a cache of an earlier run does not shorten.
    compiler_folder = tempfile.mkdtemp(prefix="tsumiki-bench-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiler_folder
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"

try:
    import numpy as np
    import torch
except ImportError as error:
    say({"absent": f"{sys.executable} cannot import it: {error}. Install with: {sys.executable} -m pip install torch numpy"})
    sys.exit(0)

from torch import Tensor

from pytorch_models import Llama, NanoGpt, batch_of_step, set_starting_values

torch.set_num_threads(config["threads"])
workload: Config = config["workload"]


def peak_memory_bytes() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def precision_context() -> contextlib.AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16) if config["precision"] == "bf16" else contextlib.nullcontext()


def make_optimizer(model: torch.nn.Module) -> torch.optim.AdamW:
    settings = workload["optimizer"]
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings["weightDecay"]},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=settings["learningRate"],
        betas=settings["betas"],
        eps=settings["epsilon"],
        fused=True,
    )


class Trainer:
    """Forward, backward, clipping and AdamW; times its own compilation and its first step."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.optimizer = make_optimizer(model)
        self.loss_of = torch.compile(model) if config["mode"] == "compiled" else model

    def backward(self, ids: Tensor, labels: Tensor) -> Tensor:
        with precision_context():
            loss = self.loss_of(ids, labels)
        loss.backward()
        return loss

    def step(self, ids: Tensor, labels: Tensor) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.backward(ids, labels)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), workload["optimizer"]["clipNorm"])
        self.optimizer.step()
        return loss.item()

    def compile(self, ids: Tensor, labels: Tensor) -> float:
        """Seconds of the first forward and backward pass, which compile both (and run them once). 0 where nothing is compiled."""
        if config["mode"] != "compiled":
            return 0.0
        seconds = timed(lambda: self.backward(ids, labels))
        self.optimizer.zero_grad(set_to_none=True)
        return seconds


def timed(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class StepTask:
    def __init__(self) -> None:
        model = Llama(workload)
        set_starting_values(model)
        self.trainer = Trainer(model)
        self.steps = 0

    def next_step(self) -> float:
        loss = self.trainer.step(*batch_of_step(workload, self.steps))
        self.steps += 1
        return loss

    def prepare(self) -> Reply:
        compile_seconds = self.trainer.compile(*batch_of_step(workload, 0))
        start = time.perf_counter()
        loss = self.next_step()
        return {"compileSeconds": compile_seconds, "firstStepSeconds": time.perf_counter() - start, "loss": loss}

    def run(self, count: int) -> Reply:
        start = time.perf_counter()
        for _ in range(count):
            loss = self.next_step()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "tokens": count * workload["batch"] * workload["context"], "loss": loss}


class MatmulTask:
    """Each distinct shape is timed once a pass, between preallocated buffers that all shapes share."""

    def __init__(self) -> None:
        dtype = torch.bfloat16 if config["precision"] == "bf16" else torch.float32
        shapes = config["matmulShapes"]
        sizes = {key: 0 for key in "abc"}
        for s in shapes:
            for key, rows, columns in (("a", "m", "k"), ("b", "k", "n"), ("c", "m", "n")):
                sizes[key] = max(sizes[key], s["batch"] * s[rows] * s[columns])
        pool = {key: torch.randn(size).to(dtype) for key, size in sizes.items()}

        def operand(key: str, batch: int, rows: int, columns: int, transposed: bool) -> Tensor:
            flat = pool[key][: batch * rows * columns]
            matrix = flat.view(batch, columns, rows).mT if transposed else flat.view(batch, rows, columns)
            return matrix[0] if batch == 1 else matrix

        self.products = [
            (
                operand("a", s["batch"], s["m"], s["k"], s["transposeA"]),
                operand("b", s["batch"], s["k"], s["n"], s["transposeB"]),
                operand("c", s["batch"], s["m"], s["n"], False),
            )
            for s in shapes
        ]
        self.counts = [s["count"] for s in shapes]

    def one_pass(self) -> list[float]:
        return [timed(lambda a=a, b=b, c=c: torch.matmul(a, b, out=c)) for a, b, c in self.products]

    def prepare(self) -> Reply:
        return {"compileSeconds": 0.0, "firstStepSeconds": timed(self.one_pass)}

    def run(self, count: int) -> Reply:
        passes = [self.one_pass() for _ in range(count)]
        means = [sum(seconds) / count for seconds in zip(*passes)]
        seconds = count * sum(mean * times for mean, times in zip(means, self.counts))
        return {"seconds": seconds, "tokens": count * workload["batch"] * workload["context"], "shapeSeconds": means}


class NanoGptTask:
    def __init__(self) -> None:
        with open(config["textFile"], encoding="utf-8", newline="") as file:
            text = file.read()
        characters = sorted(set(text))
        number = {character: index for index, character in enumerate(characters)}
        data = torch.tensor([number[character] for character in text])
        self.training, self.validation = data[: int(len(data) * 0.9)], data[int(len(data) * 0.9) :]
        self.context, self.batch = workload["context"], workload["batch"]
        self.trainer = Trainer(NanoGpt(workload, len(characters)))
        self.start(workload["seeds"][0])

    def start(self, seed: int) -> Reply:
        """New weights, new optimizer, new order of the data; what is compiled stays."""
        self.generator = torch.Generator().manual_seed(seed)
        self.trainer.model.initialize(self.generator)
        self.trainer.optimizer = make_optimizer(self.trainer.model)
        self.trainer.optimizer.zero_grad(set_to_none=True)
        self.steps = 0
        return {}

    def random_batch(self) -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(self.training) - self.context, (self.batch, 1), generator=self.generator)
        windows = self.training[starts + torch.arange(self.context + 1)]
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def learning_rate(self) -> float:
        peak, minimum = workload["optimizer"]["learningRate"], workload["minimumLearningRate"]
        warmup, steps = workload["warmupSteps"], workload["steps"]
        if self.steps < warmup:
            return peak * (self.steps + 1) / (warmup + 1)
        return minimum + (peak - minimum) * 0.5 * (1 + math.cos(math.pi * (self.steps - warmup) / (steps - warmup)))

    def next_step(self) -> float:
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        loss = self.trainer.step(*self.random_batch())
        self.steps += 1
        return loss

    def prepare(self) -> Reply:
        compile_seconds = self.trainer.compile(*self.random_batch())
        first_step_seconds = timed(self.next_step)
        self.start(workload["seeds"][0])
        return {"compileSeconds": compile_seconds, "firstStepSeconds": first_step_seconds}

    def run(self, count: int) -> Reply:
        start = time.perf_counter()
        for _ in range(count):
            loss = self.next_step()
        return {"seconds": time.perf_counter() - start, "tokens": count * self.batch * self.context, "loss": loss}

    @torch.no_grad()
    def validate(self) -> Reply:
        """The mean loss over every token of the validation text but its first, in windows that follow each other; the last is shorter."""
        total, tokens = 0.0, len(self.validation) - 1
        whole = tokens // self.context * self.context
        ids = list(self.validation[:whole].view(-1, self.context).split(256))
        labels = list(self.validation[1 : whole + 1].view(-1, self.context).split(256))
        if whole < tokens:
            ids.append(self.validation[None, whole:-1])
            labels.append(self.validation[None, whole + 1 :])
        for inputs, targets in zip(ids, labels):
            total += self.trainer.model(inputs, targets, reduction="sum").double().item()
        return {"loss": total / tokens, "tokens": tokens}


def main() -> None:
    task = {"step": StepTask, "matmul": MatmulTask, "nanogpt": NanoGptTask}[config["task"]]()
    ready = task.prepare()
    ready["parameters"] = sum(p.numel() for p in task.trainer.model.parameters()) if config["task"] != "matmul" else 0
    say({"ready": {**ready, "versions": {"python": platform.python_version(), "torch": torch.__version__}}})
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            say({**task.run(request["run"]), "peakMemoryBytes": peak_memory_bytes()})
        elif "start" in request:
            say(task.start(request["start"]))
        elif "validate" in request:
            say(task.validate())
        elif "finish" in request:
            say({"peakMemoryBytes": peak_memory_bytes()})
            return


try:
    main()
except Exception as error:
    say({"error": f"{type(error).__name__}: {error}"})
    raise
finally:
    if config["mode"] == "compiled":
        shutil.rmtree(compiler_folder, ignore_errors=True)
