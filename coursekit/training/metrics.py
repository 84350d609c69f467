"""Metrics of classification that read one batch at a time and are exact over all of them.

A metric is told batches (`update`), asked for its value (`compute`) and started anew (`reset`).
What it holds adds up over batches and over processes (`reduce`), so that no example is counted
twice, and the mean over unequal batches is never a mean of means. Metrics of other fields stand
with them, in ``coursekit.language``, ``coursekit.speech`` and ``coursekit.vision``, which lie below
and know nothing of this room: a metric is what has the four methods.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["AUC", "F1", "Accuracy", "Confusion", "Metric", "Precision", "Processes", "Recall"]

Average = Literal["binary", "macro", "micro"]


class Processes(Protocol):
    """What a metric may ask of the processes of a run, which ``World`` answers."""

    def sum(self, *values: float) -> list[float]:
        """Add numbers over all processes."""

    def gather(self, items: Sequence[Any]) -> list[Any]:
        """Join lists with one item a batch, in the order of the batches."""


@runtime_checkable
class Metric(Protocol):
    """What `Trainer` asks of a streaming metric; whatever has these methods is one."""

    def reset(self) -> None:
        """Forget all batches."""

    def update(self, outputs: Any, targets: Any) -> None:
        """Read a batch.

        Args:
            outputs: what the model returned, examples along the first axis.
            targets: what it should have been.
        """

    def compute(self) -> float:
        """Return the value over all batches so far."""

    def reduce(self, world: Processes) -> None:
        """Add what the other processes have read."""


class _Callable(Metric):
    """A metric that may be asked about one batch, as a function of it."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the value over one batch, whatever was read before."""
        self.reset()
        self.update(outputs, targets)
        return self.compute()


class _Counted(_Callable):
    """A metric that adds numbers up: it keeps them in a float64 tensor on the CPU."""

    counts: Tensor

    def reduce(self, world: Processes) -> None:
        """Add what the other processes have read."""
        total = world.sum(*self.counts.flatten().tolist())
        self.counts = torch.tensor(total, dtype=torch.float64).reshape(self.counts.shape)


class Accuracy(_Counted):
    """Share of the examples whose target is among the classes with the largest outputs.

    Args:
        top: how many classes count, 1 for plain accuracy.

    >>> outputs = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    >>> round(Accuracy()(outputs, torch.tensor([1, 0, 0])), 4)
    0.6667
    """

    def __init__(self, top: int = 1) -> None:
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        self.top = top
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.counts = torch.zeros(2, dtype=torch.float64)  # right, all

    def update(
        self, outputs: Float[Tensor, "batch classes *more"], targets: Int[Tensor, "batch *more"]
    ) -> None:
        """Read a batch of scores and class numbers."""
        _check_classes(outputs, targets)
        if self.top > outputs.shape[1]:
            raise ValueError(f"top must be at most the {outputs.shape[1]} classes, got {self.top}")
        best = outputs.topk(self.top, dim=1).indices
        right = (best == targets.unsqueeze(1)).sum()
        self.counts += torch.tensor([float(right), targets.numel()], dtype=torch.float64)

    def compute(self) -> float:
        """Return the share, from 0 to 1."""
        return _ratio(self.counts[0], self.counts[1], "accuracy")


class Confusion(_Counted):
    """How often each class was taken for each.

    Args:
        classes: how many there are. With two, outputs of shape (batch,) are scores of class 1,
            which is chosen above `threshold`.
        threshold: of such scores; 0 for logits, 0.5 for probabilities.
    """

    def __init__(self, classes: int, threshold: float = 0.0) -> None:
        if classes < 2:
            raise ValueError(f"classes must be at least 2, got {classes}")
        self.classes, self.threshold = classes, threshold
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.counts = torch.zeros(self.classes, self.classes, dtype=torch.float64)

    def update(self, outputs: Tensor, targets: Int[Tensor, "batch *more"]) -> None:
        """Read a batch of scores, (batch, classes, …) or (batch,), and class numbers."""
        if outputs.shape == targets.shape and self.classes == 2:
            chosen = (outputs > self.threshold).long()
        else:
            _check_classes(outputs, targets)
            if outputs.shape[1] != self.classes:
                raise ValueError(
                    f"outputs must have {self.classes} classes along axis 1, got shape "
                    f"{tuple(outputs.shape)}"
                )
            chosen = outputs.argmax(1)
        if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < self.classes:
            raise ValueError(
                f"targets must be from 0 to {self.classes - 1}, got {int(targets.min())} to "
                f"{int(targets.max())}"
            )
        cells = targets.long().flatten() * self.classes + chosen.flatten()
        counted = torch.bincount(cells.cpu(), minlength=self.classes**2)
        self.counts += counted.reshape(self.classes, self.classes)

    def matrix(self) -> Int[Tensor, "targets chosen"]:
        """Return counts: the row is the target, the column what was chosen."""
        return self.counts.long()

    def compute(self) -> float:
        """Return the share of the examples on the diagonal, which is the accuracy."""
        return _ratio(self.counts.diagonal().sum(), self.counts.sum(), "the matrix")


class _FromConfusion(Confusion):
    """A figure of right and wrong choices, for class 1 or averaged over the classes."""

    def __init__(
        self, classes: int = 2, average: Average = "binary", threshold: float = 0.0
    ) -> None:
        super().__init__(classes, threshold)
        if average not in ("binary", "macro", "micro"):
            raise ValueError(f"average must be binary, macro or micro, got {average!r}")
        if average == "binary" and classes != 2:
            raise ValueError(f"average must be macro or micro for {classes} classes")
        self.average = average

    def _figure(self, hits: Tensor, chosen: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError

    def compute(self) -> float:
        """Return the figure, from 0 to 1; a class without any case counts as 0."""
        hits, chosen = self.counts.diagonal(), self.counts.sum(0)
        targets = self.counts.sum(1)
        if not targets.sum():
            raise ValueError("update was not called: there is nothing to compute")
        if self.average == "binary":
            return self._figure(hits[1], chosen[1], targets[1]).item()
        if self.average == "micro":
            return self._figure(hits.sum(), chosen.sum(), targets.sum()).item()
        met = (chosen + targets) > 0  # classes that occur nowhere do not count
        return self._figure(hits, chosen, targets)[met].mean().item()


class Precision(_FromConfusion):
    """Share of the choices of a class that are right.

    Args:
        classes: how many there are.
        average: "binary" is the figure of class 1, "macro" the mean over the classes, "micro" that
            of all choices together, which equals the accuracy.
        threshold: of scores of shape (batch,), as in `Confusion`.
    """

    def _figure(self, hits: Tensor, chosen: Tensor, targets: Tensor) -> Tensor:
        return hits / chosen.clamp_min(1)


class Recall(_FromConfusion):
    """Share of the examples of a class that are found; arguments as in `Precision`."""

    def _figure(self, hits: Tensor, chosen: Tensor, targets: Tensor) -> Tensor:
        return hits / targets.clamp_min(1)


class F1(_FromConfusion):
    """Harmonic mean of precision and recall; arguments as in `Precision`.

    >>> f1 = F1()
    >>> f1.update(torch.tensor([2.0, -1.0, 3.0]), torch.tensor([1, 0, 0]))
    >>> f1.update(torch.tensor([-2.0]), torch.tensor([1]))
    >>> f1.compute()
    0.5
    """

    def _figure(self, hits: Tensor, chosen: Tensor, targets: Tensor) -> Tensor:
        return 2 * hits / (chosen + targets).clamp_min(1)


class AUC(_Callable):
    """Area under the curve of true against false positives: how often class 1 scores above class 0.

    It holds all scores, since the area depends on their order. Equal scores count half.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.scores: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, outputs: Float[Tensor, " batch"], targets: Int[Tensor, " batch"]) -> None:
        """Read a batch of scores of class 1 and targets 0 or 1."""
        if outputs.shape != targets.shape or outputs.ndim != 1:
            raise ValueError(
                "outputs and targets must have one shape (batch,), got "
                f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
            )
        self.scores.append(outputs.detach().double().cpu())
        self.targets.append(targets.cpu())

    def reduce(self, world: Processes) -> None:
        """Add what the other processes have read."""
        self.scores, self.targets = world.gather(self.scores), world.gather(self.targets)

    def compute(self) -> float:
        """Return the area, from 0 to 1.

        Raises:
            ValueError: there are no examples of one of the classes.
        """
        targets = torch.cat(self.targets) if self.targets else torch.zeros(0)
        ones = int((targets == 1).sum())
        zeros = len(targets) - ones
        if not ones or not zeros:
            raise ValueError(f"AUC needs both classes, got {ones} examples of 1 and {zeros} of 0")
        _, ranks, counts = torch.cat(self.scores).unique(return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        middle = last - (counts - 1) / 2  # the mean rank, from 1, of equal scores
        above = middle[ranks][targets == 1].sum() - ones * (ones + 1) / 2
        return (above / (ones * zeros)).item()


def _ratio(part: Tensor, whole: Tensor, name: str) -> float:
    if not whole:
        raise ValueError(f"update was not called: {name} has nothing to compute")
    return (part / whole).item()


def _check_classes(outputs: Tensor, targets: Tensor) -> None:
    expected = (*outputs.shape[:1], *outputs.shape[2:])
    if outputs.ndim < 2 or targets.shape != expected:
        raise ValueError(
            "outputs must have shape (batch, classes, …) and targets (batch, …), got "
            f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        )
