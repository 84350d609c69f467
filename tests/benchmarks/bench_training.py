"""Training steps a second: the course's trainer, hand-written loops and four libraries.

Every contender trains the same two models on one thread of the processor, float32, with the same
initial weights, batch size, number of steps and ``torch.optim.Adam``; nothing is validated, logged,
saved or drawn. A run is timed from the first line that a user of the contender writes to the
trained model, so that what a library sets up counts as well. The runs are interleaved: in each
round every contender runs once, in another order. The losses that they end with must agree.

What each does:

- loop over a DataLoader: what tutorials write, over a ``TensorDataset``, without workers;
- loop that indexes tensors: shuffles row numbers and indexes; what the others are compared with;
- coursekit: ``Trainer.fit`` with the pair of tensors;
- pytorch-lightning: ``Trainer(barebones=True)``, which its documentation offers to measure the
  overhead of the loop: all that may cost time is off; a DataLoader;
- accelerate: the hand-written loop with a prepared model, optimizer and DataLoader;
- fastai: ``Learner.fit`` with a DataLoader, as its page on moving from PyTorch does, without the
  recorder, and without the bar, which is no part of ``fastai.basics``;
- skorch: as its page on performance advises, without callbacks and with a ``TensorDataset``; its
  iterator is a DataLoader.

Usage: ``python tests/benchmarks/bench_training.py [ROUNDS]`` prints Markdown; with 5 rounds it
takes about three minutes. The libraries are those of the extra "bench" (``pip install -c
constraints.txt -e ".[bench]"`` in an environment of its own); one that is missing is left out.
"""

import importlib.util
import logging
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

os.environ |= {"OMP_NUM_THREADS": "1"}  # read when torch is imported

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from coursekit.data import load
from coursekit.training import Trainer

BATCH = 128
RATE = 1e-3
EXAMPLES = 7000  # 55 batches, of which the last is smaller
ROUNDS = 5
REFERENCE = "loop that indexes tensors"

Pair = tuple[Tensor, Tensor]


def dense() -> nn.Module:
    """Build the net of 784, 128 and 10 units."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def convolutional() -> nn.Module:
    """Build two convolutions with pooling and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 49, 10),
    )  # fmt: skip


def images(name: str) -> Pair:
    """Load images of shape (n, 1, 28, 28) and their labels."""
    found = load(name, "train")
    return found.images[:EXAMPLES, None].contiguous(), found.labels[:EXAMPLES].contiguous()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of every contender."""
    return torch.optim.Adam(model.parameters(), lr=RATE)


def loader(data: Pair) -> DataLoader:
    """Return the usual loader: shuffled, in this process."""
    return DataLoader(TensorDataset(*data), batch_size=BATCH, shuffle=True, num_workers=0)


def loop_over_a_loader(model: nn.Module, data: Pair, epochs: int) -> None:
    """Train by hand over a DataLoader."""
    batches, optimizer = loader(data), adam(model)
    for _ in range(epochs):
        for inputs, targets in batches:
            loss = cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def loop_that_indexes(model: nn.Module, data: Pair, epochs: int) -> None:
    """Train by hand, indexing the tensors."""
    (inputs, targets), optimizer = data, adam(model)
    for _ in range(epochs):
        for rows in torch.randperm(len(targets)).split(BATCH):
            loss = cross_entropy(model(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def coursekit(model: nn.Module, data: Pair, epochs: int) -> None:
    """Train by the course's trainer."""
    trainer = Trainer(model, adam(model), cross_entropy, device="cpu", progress=False)
    trainer.fit(data, epochs=epochs, batch_size=BATCH, seed=torch.initial_seed())


def lightning(model: nn.Module, data: Pair, epochs: int) -> None:
    """Train by PyTorch Lightning."""
    import pytorch_lightning

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its import sets another

    class Module(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Pair, _: int) -> Tensor:
            inputs, targets = batch
            return cross_entropy(self.model(inputs), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return adam(self.model)

    trainer = pytorch_lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=epochs, barebones=True
    )
    trainer.fit(Module(), loader(data))


def accelerate(model: nn.Module, data: Pair, epochs: int) -> None:
    """Train by hand with Accelerate."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, optimizer, batches = accelerator.prepare(model, adam(model), loader(data))
    for _ in range(epochs):
        for inputs, targets in batches:
            loss = cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()


def fastai(model: nn.Module, data: Pair, epochs: int) -> None:
    """Train by fastai."""
    from fastai.basics import (
        Callback,
        CancelValidException,
        DataLoaders,
        Learner,
        OptimWrapper,
        Recorder,
    )

    class NoValidation(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    batches = loader(data)
    learner = Learner(
        DataLoaders(batches, batches, device=torch.device("cpu")),
        model,
        loss_func=cross_entropy,
        opt_func=partial(OptimWrapper, opt=torch.optim.Adam),
        lr=RATE,
        cbs=NoValidation(),
    )
    learner.remove_cb(Recorder)
    learner.fit(epochs)


def skorch(model: nn.Module, data: Pair, epochs: int) -> None:
    """Train by skorch."""
    from skorch import NeuralNet

    net = NeuralNet(
        model,
        nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=RATE,
        max_epochs=epochs,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
        device="cpu",
    )
    net.fit(TensorDataset(*data), None)


Contender = Callable[[nn.Module, Pair, int], None]
CONTENDERS: dict[str, tuple[Contender, str]] = {  # with the package that holds it
    "loop over a DataLoader": (loop_over_a_loader, "torch"),
    REFERENCE: (loop_that_indexes, "torch"),
    "coursekit": (coursekit, "coursekit"),
    "pytorch-lightning": (lightning, "pytorch-lightning"),
    "accelerate": (accelerate, "accelerate"),
    "fastai": (fastai, "fastai"),
    "skorch": (skorch, "skorch"),
}


@dataclass(frozen=True)
class Run:
    """What was measured of one training.

    Attributes:
        speed: steps a second.
        cpu_speed: steps a second of processor time, which another load on the machine changes less.
        loss: over the training images at the end.
    """

    speed: float
    cpu_speed: float
    loss: float


def run(
    contender: Contender, build: Callable[[], nn.Module], data: Pair, epochs: int, seed: int
) -> Run:
    """Train once."""
    torch.manual_seed(seed)
    model = build()
    begin, cpu_begin = time.perf_counter(), time.process_time()
    contender(model, data, epochs)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    model.eval()
    with torch.no_grad():
        loss = cross_entropy(model(data[0]), data[1]).item()
    steps = steps_of(data, epochs)
    return Run(steps / seconds, steps / cpu_seconds, loss)


def steps_of(data: Pair, epochs: int) -> int:
    """Count the steps of a run."""
    return epochs * -(-len(data[1]) // BATCH)


def compare(
    build: Callable[[], nn.Module], data: Pair, epochs: int, rounds: int, names: list[str]
) -> dict[str, list[Run]]:
    """Run every contender in every round, each round in another order."""
    found: dict[str, list[Run]] = {name: [] for name in names}
    for name in names:
        run(CONTENDERS[name][0], build, data, 1, seed=0)  # imports and first calls
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(run(CONTENDERS[name][0], build, data, epochs, seed=number + 1))
    return found


def check_losses(found: dict[str, list[Run]]) -> None:
    """Fail unless all end with one loss, within the spread of the two hand-written loops.

    A contender shuffles in an order of its own, so that its loss differs from the reference's as
    those of the two loops differ from each other.
    """
    reference = [result.loss for result in found[REFERENCE]]
    spread = statistics.stdev(reference + [r.loss for r in found["loop over a DataLoader"]])
    mean = statistics.mean(reference)
    for name, results in found.items():
        loss = statistics.mean(result.loss for result in results)
        assert abs(loss - mean) < 3 * spread, (
            f"{name} ends with the loss {loss:.4f}, the reference with {mean:.4f} ± {spread:.4f}"
        )


def table(found: dict[str, list[Run]]) -> str:
    """Write one line a contender: steps a second, and their ratios to the reference's.

    Ratios are medians over the rounds, each of two runs of one round, so that another load on the
    machine may count in both.
    """
    lines = [
        "| contender | version | steps/s, median (range) | ratio | ratio in CPU s | final loss |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, results in found.items():
        pairs = list(zip(results, found[REFERENCE], strict=True))
        speeds = [result.speed for result in results]
        cells = (
            name,
            metadata.version(CONTENDERS[name][1]),
            f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})",
            f"{statistics.median(own.speed / other.speed for own, other in pairs):.3f}",
            f"{statistics.median(own.cpu_speed / other.cpu_speed for own, other in pairs):.3f}",
            f"{statistics.mean(result.loss for result in results):.4f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print a table for each of the two jobs."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    modules = {name: CONTENDERS[name][1].replace("-", "_") for name in CONTENDERS}
    names = [name for name in CONTENDERS if importlib.util.find_spec(modules[name])]
    try:
        clothes = "fashion", images("fashion")
    except ValueError:  # a catalog without it
        clothes = "digits", images("digits")
    jobs = [
        ("MLP 784-128-10", "digits", dense, images("digits"), 20),
        ("small convolutional net", clothes[0], convolutional, clothes[1], 3),
    ]
    print(f"Python {platform.python_version()}, torch {torch.__version__}, one thread of {cpu()}.")
    print(f"Load of the machine before the runs: {os.getloadavg()[0]:.1f}.")
    for title, source, build, data, epochs in jobs:
        found = compare(build, data, epochs, rounds, names)
        steps = steps_of(data, epochs)
        print(f"\n{title} on {source}: {rounds} rounds of {steps} steps of {BATCH} images\n")
        print(table(found), flush=True)
        check_losses(found)


def cpu() -> str:
    """Name the processor."""
    if hasattr(torch.cpu, "get_capabilities"):
        return str(torch.cpu.get_capabilities().get("cpu_name", platform.machine()))
    return platform.machine()


if __name__ == "__main__":
    main()
