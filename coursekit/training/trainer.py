"""One training loop for the whole course, short enough to be read before it is used.

The loop is the one that every PyTorch tutorial writes by hand: forward, loss, backward, clip, step.
Around it stand what those leave out: batches drawn by indexing from tensors that already lie on the
device, an evaluation of the whole validation set, a table of what happened, and an error that names
the step at which the loss stopped being a number.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from coursekit.training.device import best_device

__all__ = ["History", "Trainer"]

CHECK_EVERY = 50
"""Steps between looks at the losses: reading one makes the processor wait for a GPU."""

Tensors = Tensor | Sequence[Tensor]
Pair = tuple[Tensors, Tensors]
Data = Pair | Iterable[Pair] | Callable[[int], Pair]


class History:
    """What a training run reported: one row for each evaluation.

    Example:
        >>> history = History([{"step": 10, "epoch": 1, "loss": 0.5}])
        >>> history.column("loss")
        [0.5]
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rows: list[dict[str, float]] = [dict(row) for row in rows]

    @property
    def last(self) -> dict[str, float]:
        """The latest row."""
        if not self.rows:
            raise ValueError("history has no rows yet: call fit first")
        return self.rows[-1]

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in the order in which they came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def column(self, name: str) -> list[float]:
        """Return one column, row by row.

        Raises:
            ValueError: if there is no such column.
        """
        if name not in self.columns:
            raise ValueError(f"name must be one of {self.columns}, got {name!r}")
        return [row[name] for row in self.rows]

    def plot(self, ax: Any = None, columns: Sequence[str] | None = None) -> Any:
        """Draw columns against the step.

        Args:
            ax: matplotlib axes; new ones when None.
            columns: names of the columns to draw; the losses when None.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        if columns is None:
            columns = [name for name in self.columns if name.endswith("loss")]
        for name in columns:
            ax.plot(self.column("step"), self.column(name), label=name.replace("_", " "))
        ax.set_xlabel("step (updates of the parameters)")
        ax.set_ylabel("loss" if all(name.endswith("loss") for name in columns) else "value")
        ax.legend()
        return ax

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        cells = [self.columns, *self._formatted()]
        widths = [max(len(line[k]) for line in cells) for k in range(len(self.columns))]
        lines = ["  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in cells]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
            for row in self._formatted()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _formatted(self) -> list[list[str]]:
        return [[_format(row.get(name)) for name in self.columns] for row in self.rows]


class Trainer:
    """Fits a model to data.

    Args:
        model: any module; its inputs are passed by position.
        optimizer: a torch optimizer over the model's parameters.
        loss: ``loss(outputs, targets)`` returns a scalar tensor.
        metrics: functions ``(outputs, targets) -> float`` by name, computed on validation data and
            by :meth:`evaluate`, on all examples at once (so that F1 is right, too).
        device: where to compute; the best of this machine when None.
        clip_norm: largest norm that the gradient of all parameters together may have.
        schedule: a torch learning-rate scheduler, advanced after every step.
        progress: whether to draw a bar; when None, unless ``COURSEKIT_PROGRESS=0`` is set.

    Raises:
        ValueError: if the optimizer holds none of the model's parameters or clip_norm is not
            positive.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Callable[[Any, Any], Tensor],
        *,
        metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
        device: torch.device | str | None = None,
        clip_norm: float | None = None,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
        progress: bool | None = None,
    ) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in held for p in model.parameters()):
            raise ValueError(
                "optimizer must hold the parameters of model, got one that holds none of them: "
                "build it from model.parameters()"
            )
        if clip_norm is not None and clip_norm <= 0:
            raise ValueError(f"clip_norm must be above 0, got {clip_norm}")
        self.device = best_device() if device is None else torch.device(device)
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = dict(metrics or {})
        self.clip_norm = clip_norm
        self.schedule = schedule
        self.progress = (
            os.environ.get("COURSEKIT_PROGRESS") != "0" if progress is None else progress
        )

    def fit(
        self,
        train: Data,
        validation: Data | None = None,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        batch_size: int | None = 64,
        evaluate_every: int | None = None,
        seed: int = 0,
    ) -> History:
        """Train for a number of passes over the data or of updates.

        Args:
            train: a pair ``(inputs, targets)`` of tensors with examples along the first axis
                (either may be a tuple of such tensors), a DataLoader of such pairs, or a function
                that takes the step, from 1, and returns one batch.
            validation: a pair or a DataLoader, evaluated whole for every row of the history.
            epochs: passes over the training data; give this or steps.
            steps: updates of the parameters.
            batch_size: examples in a batch drawn from a pair, shuffled anew each epoch; None takes
                all examples, in their order, at every step.
            evaluate_every: steps between rows of the history; an epoch when None (with a function
                as data, the whole run).
            seed: of the shuffling, which touches no global generator.

        Returns:
            A table with the columns step, epoch, loss (the mean over the training examples since
            the row before, each under the parameters of its step) and, with validation data,
            validation_loss and one column for each metric.

        Raises:
            ValueError: if the arguments contradict each other or the data.
            FloatingPointError: if the loss becomes infinite or NaN; the message names the step.
        """
        train = self._place(train, "train")
        validation = None if validation is None else self._place(validation, "validation")
        epoch_steps = _steps_of_an_epoch(train, batch_size)
        steps = _total_steps(epochs, steps, epoch_steps)
        if evaluate_every is not None and evaluate_every < 1:
            raise ValueError(f"evaluate_every must be at least 1, got {evaluate_every}")
        every = evaluate_every or epoch_steps or steps
        history, pending = History(), _Losses()
        batches = self._batches(train, batch_size, seed)
        bar = tqdm(total=steps, unit="step", disable=not self.progress, leave=False)
        self.model.train()
        with bar:
            for step in range(1, steps + 1):
                inputs, targets = next(batches)
                pending.add(step, self._update(inputs, targets), _length(targets))
                bar.update()
                if step % every == 0 or step == steps:
                    row: dict[str, float] = {"step": step}
                    if epoch_steps:
                        row["epoch"] = step // epoch_steps
                    row["loss"] = pending.mean()
                    if validation is not None:
                        scores = self.evaluate(validation)
                        row |= {f"validation_{name}": value for name, value in scores.items()}
                    history.rows.append(row)
                    bar.set_postfix_str(f"loss {row['loss']:.4g}")
        return history

    def _update(self, inputs: Tensors, targets: Tensors) -> Tensor:
        """Take one step and return the loss before it, still on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self._forward(inputs), targets)
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"loss must return a scalar tensor, got {got}: take the mean")
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return loss.detach()

    def _forward(self, inputs: Tensors) -> Any:
        return self.model(inputs) if isinstance(inputs, Tensor) else self.model(*inputs)

    @torch.no_grad()
    def evaluate(self, data: Data, batch_size: int = 1024) -> dict[str, float]:
        """Return the loss and every metric of all examples together.

        Args:
            data: a pair ``(inputs, targets)`` or a DataLoader.
            batch_size: examples that pass through the model at once.
        """
        data = self._place(data, "data")
        if callable(data):
            raise ValueError(
                "data must be a pair or a DataLoader, got a function, which never ends"
            )
        parts = _slices(data, batch_size) if isinstance(data, tuple) else self._moved(data)
        outputs, targets = [], []
        for batch_inputs, batch_targets in parts:
            outputs.append(self._infer(batch_inputs))
            targets.append(batch_targets)
        if not outputs:
            raise ValueError("data must hold at least one example, got none")
        joined = _join(outputs), _join(targets)
        scores = {"loss": float(self.loss(*joined))}
        return scores | {name: float(metric(*joined)) for name, metric in self.metrics.items()}

    @torch.no_grad()
    def predict(self, inputs: Tensors, batch_size: int = 1024) -> Any:
        """Return the model's outputs for all examples, in evaluation mode.

        Args:
            inputs: a tensor with examples along the first axis, or a tuple of such tensors.
            batch_size: examples that pass through the model at once.
        """
        placed = _to(inputs, self.device)
        return _join([self._infer(part) for part, _ in _slices((placed, placed), batch_size)])

    def _infer(self, inputs: Tensors) -> Any:
        training = self.model.training
        self.model.eval()
        try:
            return self._forward(inputs)
        finally:
            self.model.train(training)

    def _place(self, data: Data, name: str) -> Any:
        """Check the data and move a pair of tensors to the device, once."""
        if isinstance(data, list) and data and isinstance(data[0], Tensor):
            data = tuple(data)
        if not isinstance(data, tuple):
            return data
        if len(data) != 2:
            raise ValueError(f"{name} must be a pair (inputs, targets), got {len(data)} items")
        inputs, targets = _to(data[0], self.device), _to(data[1], self.device)
        lengths = {len(tensor) for tensor in (*_flat(inputs), *_flat(targets))}
        if len(lengths) != 1:
            raise ValueError(
                f"{name} must hold as many targets as inputs, got lengths {sorted(lengths)}"
            )
        if lengths == {0}:
            raise ValueError(f"{name} must hold at least one example, got none")
        return inputs, targets

    def _batches(self, data: Any, batch_size: int | None, seed: int) -> Iterator[Pair]:
        """Yield batches without end."""
        if callable(data):
            step = 0
            while True:
                step += 1
                yield _to(data(step), self.device)
        if not isinstance(data, tuple):
            while True:
                yield from self._moved(data)
        if batch_size is None:
            while True:
                yield data
        generator = torch.Generator().manual_seed(seed)
        while True:
            order = torch.randperm(_length(data[0]), generator=generator).to(self.device)
            for chosen in order.split(batch_size):
                yield _pick(data[0], chosen), _pick(data[1], chosen)

    def _moved(self, loader: Iterable[Pair]) -> Iterator[Pair]:
        for inputs, targets in loader:
            yield _to(inputs, self.device), _to(targets, self.device)


class _Losses:
    """Losses that wait on the device until they are looked at together."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Tensor, int]] = []
        self.total, self.count = 0.0, 0

    def add(self, step: int, loss: Tensor, examples: int) -> None:
        self.waiting.append((step, loss, examples))
        if len(self.waiting) >= CHECK_EVERY:
            self.settle()

    def settle(self) -> None:
        if not self.waiting:
            return
        steps, losses, examples = zip(*self.waiting, strict=True)
        self.waiting = []
        for step, value, number in zip(steps, torch.stack(losses).tolist(), examples, strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"loss is {value} at step {step}: lower the learning rate, set clip_norm or "
                    "look for a logarithm or a division of zero"
                )
            self.total += value * number
            self.count += number

    def mean(self) -> float:
        self.settle()
        mean = self.total / self.count
        self.total, self.count = 0.0, 0
        return mean


def _steps_of_an_epoch(data: Any, batch_size: int | None) -> int | None:
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1 or None, got {batch_size}")
    if callable(data):
        return None
    if isinstance(data, tuple):
        return 1 if batch_size is None else -(-_length(data[0]) // batch_size)
    if not hasattr(data, "__len__") or not len(data):
        raise ValueError(
            "train must be a pair (inputs, targets), a DataLoader with at least one batch or a "
            f"function of the step, got {type(data).__name__}"
        )
    return len(data)


def _total_steps(epochs: int | None, steps: int | None, epoch_steps: int | None) -> int:
    if (epochs is None) == (steps is None):
        raise ValueError(f"give epochs or steps, got epochs={epochs} and steps={steps}")
    if epochs is not None:
        if epoch_steps is None:
            raise ValueError("epochs have no end when train is a function: give steps")
        steps = epochs * epoch_steps
    if steps is None or steps < 1:
        name, value = ("epochs", epochs) if epochs is not None else ("steps", steps)
        raise ValueError(f"{name} must be at least 1, got {value}")
    return steps


def _flat(values: Tensors) -> list[Tensor]:
    return [values] if isinstance(values, Tensor) else list(values)


def _length(values: Tensors) -> int:
    return len(_flat(values)[0])


def _to(values: Any, device: torch.device) -> Any:
    if isinstance(values, Tensor):
        return values.to(device)
    return tuple(_to(value, device) for value in values)


def _pick(values: Tensors, chosen: Any) -> Tensors:
    return values[chosen] if isinstance(values, Tensor) else tuple(v[chosen] for v in values)


def _slices(pair: Pair, size: int) -> Iterator[Pair]:
    for start in range(0, _length(pair[0]), size):
        chosen = slice(start, start + size)
        yield _pick(pair[0], chosen), _pick(pair[1], chosen)


def _join(parts: list[Any]) -> Any:
    """Join outputs of batches along the first axis, tensor by tensor."""
    if not isinstance(parts[0], Tensor):
        return tuple(_join(list(part)) for part in zip(*parts, strict=True))
    shapes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(shapes) > 1:
        raise ValueError(
            f"batches must agree in all axes but the first, got {shapes}: pad to one length"
        )
    return torch.cat(parts)


def _format(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4f}"
