"""Sequences of different lengths in one batch: padding, and batches of similar lengths.

Padding costs computation. Batches of sequences that are about equally long need little of it: the
padded positions of an epoch are at most the batch size times the spread of the lengths, however
many sequences there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Padded(NamedTuple):
    """Sequences of one batch, padded at the end to the length of the longest.

    Attributes:
        values: Of shape (n, longest, …).
        lengths: int64 of shape (n,), on the CPU, as ``pack_padded_sequence`` wants them.
    """

    values: Shaped[Tensor, "n longest *features"]
    lengths: Int[Tensor, " n"]

    @property
    def mask(self) -> Bool[Tensor, "n longest"]:
        """True where a sequence is, false where padding is; on the device of the values."""
        positions = torch.arange(self.values.shape[1], device=self.values.device)
        return positions < self.lengths.to(self.values.device)[:, None]


def pad(
    sequences: Sequence[Tensor | Sequence[Any]],
    value: float = 0,
    *,
    multiple: int = 1,
    device: torch.device | str | None = None,
) -> Padded:
    """Put sequences into one tensor.

    Args:
        sequences: Tensors of shape (length, …) that agree in all but the length, or lists.
        value: What stands behind the end of a sequence.
        multiple: The padded length is a multiple of this.
        device: Where the values are put; where they are when None.

    Returns:
        Values and lengths.

    Raises:
        ValueError: There is no sequence, they disagree in the shape of an element or in the type,
            or `multiple` is below 1.

    >>> padded = pad([[1, 2, 3], [4]], value=-1)
    >>> padded.values.tolist(), padded.lengths.tolist(), padded.mask.tolist()[1]
    ([[1, 2, 3], [4, -1, -1]], [3, 1], [True, False, False])
    """
    if not len(sequences):
        raise ValueError("sequences must hold at least one sequence, got none")
    if multiple < 1:
        raise ValueError(f"multiple must be at least 1, got {multiple}")
    tensors = [torch.as_tensor(sequence) for sequence in sequences]
    kinds = {(tuple(tensor.shape[1:]), tensor.dtype, tensor.ndim > 0) for tensor in tensors}
    if len(kinds) > 1 or not tensors[0].ndim:
        got = sorted({f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in tensors})
        shown = ", ".join(got[:4]) + (", …" if len(got) > 4 else "")
        raise ValueError(f"sequences must agree in type and in all axes but the first, got {shown}")
    lengths = torch.tensor([len(tensor) for tensor in tensors])
    values = pad_sequence(tensors, batch_first=True, padding_value=value)
    missing = -values.shape[1] % multiple
    if missing:
        extra = values.new_full((len(values), missing, *values.shape[2:]), value)
        values = torch.cat([values, extra], dim=1)
    return Padded(values if device is None else values.to(device), lengths)


class Buckets:
    """Batches of indices whose sequences are about equally long.

    Each iteration is an epoch: every index once. The sequences are sorted by length, equal lengths
    in random order, and cut into batches, which come in random order. The padded positions of an
    epoch are at most B · (longest - shortest), where B is the largest number of sequences in a
    batch. The price is that sequences of very different lengths never meet in a batch; `pool`
    buys some of that back.

    Args:
        lengths: Length of each sequence.
        batch_size: Sequences in a batch; one batch may be smaller. Give this or `max_tokens`.
        max_tokens: Positions in a batch, padding included.
        pool: Sort only among so many batches of randomly chosen sequences, so that the batches
            differ more from epoch to epoch; the bound holds for each pool. Only with `batch_size`;
            all sequences when None.
        shuffle: Whether to draw anew each epoch; else from long to short.
        seed: Of the orders.

    Yields:
        Lists of indices. A DataLoader takes it as its ``batch_sampler``.

    Raises:
        ValueError: There is no sequence or a length is below 0; `batch_size` and `max_tokens` are
            both given or both missing; one of them or `pool` is below 1; a sequence is longer than
            `max_tokens`; `pool` comes with `max_tokens`.

    >>> list(Buckets([3, 1, 2, 9], batch_size=2, shuffle=False))
    [[3, 0], [2, 1]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | Int[Tensor, " n"],
        *,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        pool: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        self.lengths = torch.as_tensor(lengths)
        if self.lengths.ndim != 1 or not len(self.lengths) or self.lengths.is_floating_point():
            raise ValueError(
                "lengths must be a list of whole numbers, got shape "
                f"{tuple(self.lengths.shape)} of {self.lengths.dtype}"
            )
        if int(self.lengths.min()) < 0:
            raise ValueError(f"lengths must be 0 or more, got {int(self.lengths.min())}")
        if (batch_size is None) == (max_tokens is None):
            raise ValueError(
                f"give batch_size or max_tokens, got batch_size={batch_size} and "
                f"max_tokens={max_tokens}"
            )
        sizes = {"batch_size": batch_size, "max_tokens": max_tokens, "pool": pool}
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        longest = int(self.lengths.max())
        if max_tokens is not None and longest > max_tokens:
            raise ValueError(
                f"max_tokens must be at least {longest}, the longest length, got {max_tokens}"
            )
        if pool is not None and batch_size is None:
            raise ValueError(
                "pool needs batch_size: with max_tokens the number of batches would vary"
            )
        self.batch_size, self.max_tokens, self.pool = batch_size, max_tokens, pool
        self.shuffle = shuffle
        self.generator = torch.Generator().manual_seed(seed)
        ordered = torch.sort(self.lengths, descending=True).values.tolist()
        self._cuts = self._cut(ordered)

    def __len__(self) -> int:
        return len(self._cuts) - 1

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(len(self.lengths))
        if self.shuffle:
            order = torch.randperm(len(order), generator=self.generator)
        size = len(order) if self.pool is None else self.pool * (self.batch_size or 1)
        # The sort is stable: equal lengths stay in the order of the permutation.
        pools = [
            part[torch.sort(self.lengths[part], descending=True, stable=True).indices]
            for part in order.split(size)
        ]
        ordered = torch.cat(pools).tolist()
        batches = list(range(len(self)))
        if self.shuffle:
            batches = torch.randperm(len(self), generator=self.generator).tolist()
        for k in batches:
            yield ordered[self._cuts[k] : self._cuts[k + 1]]

    def _cut(self, ordered: list[int]) -> list[int]:
        """Say where batches begin among lengths from long to short, and where the last one ends."""
        if self.batch_size is not None:
            return [*range(0, len(ordered), self.batch_size), len(ordered)]
        cuts = [0]
        for k in range(len(ordered)):
            if (k + 1 - cuts[-1]) * ordered[cuts[-1]] > (self.max_tokens or 0):
                cuts.append(k)
        return [*cuts, len(ordered)]


def padding_share(
    lengths: Sequence[int] | Int[Tensor, " n"], batches: Sequence[Sequence[int]]
) -> float:
    """Measure what padding wastes.

    Args:
        lengths: Length of each sequence.
        batches: Indices of the sequences of each batch, each padded to its longest.

    Returns:
        Padded positions as a share of all positions, from 0 to 1.

    >>> padding_share([3, 1, 2, 2], [[0, 1], [2, 3]])
    0.2
    """
    lengths = torch.as_tensor(lengths)
    parts = [lengths[list(batch)] for batch in batches]
    positions = sum(len(part) * int(part.max()) for part in parts)
    used = sum(int(part.sum()) for part in parts)
    return (positions - used) / positions if positions else 0.0


class SequenceBatches:
    """Padded batches of sequences with targets, for ``Trainer.fit``.

    Args:
        sequences: Tensors of shape (length, …) or lists of numbers.
        targets: A tensor of shape (n, …), or a sequence for each sequence, which is padded too.
        value: What pads the sequences.
        target_value: What pads the targets; -100 is what torch's cross-entropy passes over.
        device: Where the batches are put; the lengths stay on the CPU.
        options: batch_size or max_tokens, pool, shuffle and seed, as for `Buckets`.

    Yields:
        ``((values, lengths), targets)``, each epoch in a new order. A Trainer moves the lengths to
        its device, too; ``pack_padded_sequence`` wants them on the CPU.

    Raises:
        ValueError: There are not as many targets as sequences, or as `Buckets` does.
    """

    def __init__(
        self,
        sequences: Sequence[Tensor | Sequence[Any]],
        targets: Tensor | Sequence[Tensor | Sequence[Any]],
        *,
        value: float = 0,
        target_value: float = -100,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> None:
        if len(targets) != len(sequences):
            raise ValueError(
                f"targets must be as many as sequences, {len(sequences)}, got {len(targets)}"
            )
        self.sequences = [torch.as_tensor(sequence) for sequence in sequences]
        self.targets = (
            targets if isinstance(targets, Tensor) else [torch.as_tensor(each) for each in targets]
        )
        self.value, self.target_value, self.device = value, target_value, device
        self.buckets = Buckets([len(sequence) for sequence in self.sequences], **options)

    def __len__(self) -> int:
        return len(self.buckets)

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
        for chosen in self.buckets:
            padded = pad([self.sequences[k] for k in chosen], self.value, device=self.device)
            if isinstance(self.targets, Tensor):
                targets = self.targets[chosen]
            else:
                targets = pad([self.targets[k] for k in chosen], self.target_value).values
            if self.device is not None:
                targets = targets.to(self.device)
            yield (padded.values, padded.lengths), targets
