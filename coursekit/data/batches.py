"""Batches: by indexing where the data fit in memory, by workers where augmentation is slow.

`Batches` takes whole rows of tensors with one indexing operation a batch; nothing is called for
each example. `data_loader` is torch's DataLoader with the seeds set so that a batch depends on the
seed, the epoch and its number alone, not on how many workers there are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

Tensors = Tensor | Sequence[Tensor]


class Batches:
    """Batches of tensors, in a new order each epoch.

    Each iteration is an epoch: every example once, unless `drop_last` leaves out the rest. The
    orders come from one generator that nothing else draws from, with one permutation an epoch, as
    in `coursekit.training.Trainer`: both give the same batches for the same seed. With two
    arguments, inputs and targets, it is what ``Trainer.fit`` takes.

    Args:
        tensors: Tensors with examples along the first axis; each may also be a tuple of tensors.
        batch_size: Examples in a batch; the last one may be smaller.
        shuffle: Whether to draw a new order each epoch; else the batches are views of the tensors.
        seed: Of the orders, or a torch generator on the CPU to draw them from.
        drop_last: Whether to leave out a last batch that is smaller.
        device: Where the tensors are put, once; where they are when None.
        transform: Called with each batch; what it returns is yielded in the batch's place.

    Yields:
        A tuple with a part for each argument; for one argument, the part itself.

    Raises:
        ValueError: There is no tensor, or no example, or their numbers differ; `batch_size` is
            below 1, or above the number of examples with `drop_last`.

    Example:
        >>> batches = Batches(torch.arange(5), torch.arange(5) * 10, batch_size=2, seed=0)
        >>> len(batches)
        3
        >>> sorted(x for inputs, targets in batches for x in inputs.tolist())
        [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        *tensors: Tensors,
        batch_size: int,
        shuffle: bool = True,
        seed: int | torch.Generator = 0,
        drop_last: bool = False,
        device: torch.device | str | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if not tensors:
            raise ValueError("tensors must hold at least one tensor, got none")
        self.tensors = tuple(_placed(part, device) for part in tensors)
        lengths = {len(tensor) for part in self.tensors for tensor in _flat(part)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                "tensors must hold the same number of examples, at least 1, got lengths "
                f"{sorted(lengths)}"
            )
        self.examples = lengths.pop()
        self.batch_size = batch_size
        self.shuffle = shuffle
        self._length = _count(self.examples, batch_size, drop_last)
        self.transform = transform
        self.generator = (
            seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
        )
        self.device = _flat(self.tensors[0])[0].device
        self._epoch, self._position, self._resumed = 0, 0, False
        self._start = self.generator.get_state()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        if self._resumed:
            self.generator.set_state(self._start)
            self._resumed = False
        elif self._position:  # the epoch before was left
            self._epoch, self._position = self._epoch + 1, 0
        self._start = self.generator.get_state()
        order = None
        if self.shuffle:
            order = torch.randperm(self.examples, generator=self.generator).to(self.device)
        for number in range(self._position, len(self)):
            first = number * self.batch_size
            chosen = slice(first, first + self.batch_size)
            batch = self._pick(chosen if order is None else order[chosen])
            self._advance(number + 1)
            yield batch

    def _pick(self, chosen: slice | Tensor) -> Any:
        parts = tuple(_rows(part, chosen) for part in self.tensors)
        batch = parts[0] if len(parts) == 1 else parts
        return batch if self.transform is None else self.transform(batch)

    def _advance(self, delivered: int) -> None:
        """Note how many batches of the epoch have been handed out."""
        if delivered < len(self):
            self._position = delivered
        else:
            self._epoch, self._position = self._epoch + 1, 0
            self._start = self.generator.get_state()

    def state_dict(self) -> dict[str, Any]:
        """Say where the iteration stands, to go on from there later, in another process too.

        Asked for while a batch is in use, it counts this batch as delivered. With several
        iterations at once, it is the state of the one that moved last.

        Returns:
            "epoch", epochs finished or left; "position", batches delivered of the one under way;
            "generator", the state from which its order is drawn. ``torch.save`` can write it.
        """
        return {
            "epoch": self._epoch,
            "position": self._position,
            "generator": self._start.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration deliver what is left of the epoch of a state.

        Args:
            state: From `state_dict` of batches of the same tensors and sizes.

        Raises:
            ValueError: The position lies beyond the epoch.
        """
        if not 0 <= state["position"] < len(self):
            raise ValueError(
                f"state must hold a position below {len(self)}, the batches of an epoch, got "
                f"{state['position']}: it comes from other data or another batch_size"
            )
        self._epoch, self._position = state["epoch"], state["position"]
        self._start, self._resumed = state["generator"].clone(), True

    def __repr__(self) -> str:
        order = "shuffled" if self.shuffle else "in order"
        batches = f"{len(self):,} batches of {self.batch_size}"
        return f"Batches({self.examples:,} examples, {batches}, {order})"


def data_loader(
    dataset: Dataset[Any],
    batch_size: int,
    *,
    workers: int = 0,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[Any]:
    """Build torch's DataLoader with the same batches for any number of workers.

    For data that do not fit in memory, or whose augmentation is slow: else use `Batches`. Before a
    batch is made, the global generators of torch, numpy and random are seeded from the seed, the
    epoch and the batch's number, and are put back afterwards; so random augmentation that draws
    from them is the same in this process and in any worker, and leaves no trace in this one. A
    generator that the data set keeps for itself is copied into each worker and is not covered.

    Args:
        dataset: Map-style: it has a length, and an example for each index.
        batch_size: Examples in a batch; the last one may be smaller.
        workers: Processes that make batches; 0 makes them in this one. They stay for all epochs.
        seed: Of the orders and of the augmentation.
        shuffle: Whether to draw a new order each epoch.
        drop_last: Whether to leave out a last batch that is smaller.
        collate: Makes a batch of a list of examples; torch's ``default_collate`` when None.

    Returns:
        The loader. Each iteration is the next epoch. Memory is pinned only if there is CUDA.

    Raises:
        ValueError: The data set has no length or no example, `batch_size` is below 1, or above the
            number of examples with `drop_last`, or `workers` is below 0.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        got = type(dataset).__name__
        raise ValueError(f"dataset must have a length and an example for each index, got {got}")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    sampler = _SeededBatches(len(dataset), batch_size, seed, shuffle, drop_last)
    return DataLoader(
        _Seeded(dataset),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),
    )


class _SeededBatches(Sampler[list[int]]):
    """Lists of a seed and the indices of a batch; each iteration is the next epoch."""

    def __init__(
        self, examples: int, batch_size: int, seed: int, shuffle: bool, drop_last: bool
    ) -> None:
        if not examples:
            raise ValueError("dataset must hold at least one example, got none")
        self.examples, self.batch_size = examples, batch_size
        self.seed, self.shuffle = seed, shuffle
        self._length = _count(examples, batch_size, drop_last)
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0

    def __len__(self) -> int:
        return self._length

    def state_dict(self) -> dict[str, Any]:
        """Say where the epochs stand, for a checkpoint."""
        return {"epoch": self.epoch, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.epoch = state["epoch"]
        self.generator.set_state(state["generator"])

    def __iter__(self) -> Iterator[list[int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = list(range(self.examples))
        if self.shuffle:
            order = torch.randperm(self.examples, generator=self.generator).tolist()
        for number in range(len(self)):
            # SeedSequence mixes all three, so neighboring numbers give unrelated streams.
            mixed = np.random.SeedSequence([self.seed % 2**64, epoch, number])
            first = number * self.batch_size
            batch_seed = int(mixed.generate_state(1, np.uint64)[0])
            yield [batch_seed, *order[first : first + self.batch_size]]


class _Seeded(Dataset[Any]):
    """A data set that makes the examples of a batch under the batch's seed."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, keys: list[int]) -> list[Any]:
        seed, indices = keys[0], keys[1:]
        legacy = np.random.get_state()  # noqa: NPY002 (augmentation may draw from it)
        before = random.getstate(), torch.get_rng_state()
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.random.default_generator.manual_seed(seed % 2**63)
            if hasattr(self.dataset, "__getitems__"):
                return self.dataset.__getitems__(indices)
            return [self.dataset[index] for index in indices]
        finally:
            random.setstate(before[0])
            np.random.set_state(legacy)  # noqa: NPY002
            torch.set_rng_state(before[1])


def _count(examples: int, batch_size: int, drop_last: bool) -> int:
    """Check the size of a batch and count the batches of an epoch."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if drop_last and batch_size > examples:
        raise ValueError(
            f"batch_size must be at most {examples}, the number of examples, with drop_last, "
            f"got {batch_size}"
        )
    return examples // batch_size if drop_last else -(-examples // batch_size)


def _flat(part: Tensors) -> Sequence[Tensor]:
    return (part,) if isinstance(part, Tensor) else part


def _placed(part: Tensors, device: torch.device | str | None) -> Tensors:
    """Move tensors to a device; a part that is no tensor becomes a tuple of them."""
    if isinstance(part, Tensor):
        return part if device is None else part.to(device)
    if not isinstance(part, tuple | list) or not all(isinstance(t, Tensor) for t in part):
        raise ValueError(f"tensors must be tensors or tuples of them, got {type(part).__name__}")
    return tuple(tensor if device is None else tensor.to(device) for tensor in part)


def _rows(part: Tensors, chosen: slice | Tensor) -> Tensors:
    if not isinstance(part, Tensor):
        return tuple(_tensor_rows(tensor, chosen) for tensor in part)
    return _tensor_rows(part, chosen)


def _tensor_rows(tensor: Tensor, chosen: slice | Tensor) -> Tensor:
    return tensor[chosen] if isinstance(chosen, slice) else tensor.index_select(0, chosen)
