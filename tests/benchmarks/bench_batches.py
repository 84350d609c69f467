"""Batches a second: indexing whole tensors against torch's DataLoader on the same digits.

All contenders deliver the training digits in shuffled batches of 128, standardized to mean 0 and
deviation 1 by the same function, once a batch. Repetitions are interleaved, so that a busy moment
of the machine hits all of them. The DataLoaders are set up as well as their interface allows:
persistent workers, one thread each, an epoch before the clock starts. Beside the usual loader
(TensorDataset, an example at a time, default collation) stands one that is told whole batches of
indices by a BatchSampler, so that the data set itself is indexed once a batch.

Usage: ``python tests/benchmarks/bench_batches.py [REPETITIONS]`` (about 20 seconds).
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported

import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    TensorDataset,
    default_collate,
)

from coursekit.data import load
from coursekit.data.batches import Batches
from coursekit.data.splits import Standardizer

BATCH = 128
EPOCHS = 5  # in a repetition of the fast path; one of a loader
TARGET = 5.0


def main() -> None:
    """Print a table of batches a second."""
    torch.set_num_threads(1)
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    digits = load("digits", "train")
    images, labels = digits.images, digits.labels
    standardize = Standardizer.fit(images, dim=None)

    def transform(batch: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        return standardize(inputs), targets

    dataset = TensorDataset(images, labels)

    def loader(workers: int) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=BATCH,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=lambda examples: transform(default_collate(examples)),
        )

    def whole_batches(workers: int) -> DataLoader:
        return DataLoader(
            dataset,
            sampler=BatchSampler(RandomSampler(dataset), BATCH, drop_last=False),
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=transform,
        )

    contenders = {
        "Batches": Batches(images, labels, batch_size=BATCH, transform=transform),
        "DataLoader, 0 workers": loader(0),
        "DataLoader, 2 workers": loader(2),
        "DataLoader of whole batches, 0 workers": whole_batches(0),
        "DataLoader of whole batches, 2 workers": whole_batches(2),
    }
    for contender in contenders.values():
        check(contender, images, labels, standardize)  # also starts the workers
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, contender in contenders.items():
            rates[name].append(batches_a_second(contender, EPOCHS if name == "Batches" else 1))
    print_table(rates, len(images))


def check(
    contender: Iterable, images: Tensor, labels: Tensor, standardize: Callable[[Tensor], Tensor]
) -> None:
    """See that a contender delivers every example once, standardized, in shuffled batches."""
    batches = [(inputs.clone(), targets.clone()) for inputs, targets in contender]
    assert [len(targets) for _, targets in batches[:-1]] == [BATCH] * (len(labels) // BATCH)
    inputs, targets = (torch.cat(part) for part in zip(*batches, strict=True))
    assert not torch.equal(targets, labels)
    keys, stated = inputs.double().flatten(1).sum(1), standardize(images).double().flatten(1).sum(1)
    assert torch.allclose(keys.sort().values, stated.sort().values, rtol=0, atol=1e-9)
    assert torch.equal(targets.bincount(), labels.bincount())


def batches_a_second(contender: Iterable, epochs: int) -> float:
    """Deliver epochs and return the rate."""
    begin, count = time.perf_counter(), 0
    for _ in range(epochs):
        for _ in contender:
            count += 1
    return count / (time.perf_counter() - begin)


def print_table(rates: dict[str, list[float]], examples: int) -> None:
    """Print the median, the spread and the ratio of each contender."""
    print(
        f"{examples:,} digits of 28 x 28, float32, batches of {BATCH}, shuffled and standardized; "
        f"{len(rates['Batches'])} interleaved repetitions, one thread"
    )
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':40}{'batches/s':>10}  {'lowest to highest':>19}  {'Batches is faster by':>20}")
    fast = rates["Batches"]
    for name, values in rates.items():
        # Repetition by repetition: both then met the same machine.
        ratio = statistics.median(a / b for a, b in zip(fast, values, strict=True))
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        shown = f"{ratio:.1f}" if name != "Batches" else ""
        print(f"{name:40}{statistics.median(values):10,.0f}  {spread:>19}  {shown:>20}")
    usual = [name for name in rates if name.startswith("DataLoader,")]
    ratios = [statistics.median(fast) / statistics.median(rates[name]) for name in usual]
    verdict = "reached" if min(ratios) >= TARGET else "missed"
    print(f"target, at least {TARGET:g} against the usual loader with 0 and 2 workers: {verdict}")


if __name__ == "__main__":
    main()
