"""What to look at when training fails: the layer at fault, memory, the learning rate."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from coursekit.training.feeding import Data, Feed, Tensors, place
from coursekit.training.history import History

if TYPE_CHECKING:
    from coursekit.training.trainer import Trainer

__all__ = ["find_learning_rate", "overfit_one_batch", "profile"]


def explain_nan(
    model: nn.Module, forward: Callable[[Tensors], Any], inputs: Tensors, step: int
) -> str:
    """Name the first module whose output is not finite.

    Args:
        model: the model, with the parameters that the failing step found, or later ones.
        forward: computes its outputs.
        inputs: the batch.
        step: the step, for the message.

    Returns:
        The rest of a sentence that began with the loss.
    """
    advice = "lower the learning rate, set clip_norm or look for a logarithm or a division of zero"
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return (
                f"at step {step} or shortly before: the parameter {name} is no longer finite; with "
                f"check_every=1 the step itself is found; {advice}"
            )
    found: list[str] = []

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if not found and not all(bool(torch.isfinite(t).all()) for t in _floats(output)):
                found.append(f"{name} ({type(module).__name__})")

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if n and not list(m.children())]
    handles = [module.register_forward_hook(look(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            outputs = forward(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not all(bool(torch.isfinite(t).all()) for t in _floats(inputs)):
        return f"at step {step}: the batch itself holds values that are not finite"
    if found:
        return f"at step {step}: the output of {found[0]} is the first that is not finite; {advice}"
    if not all(bool(torch.isfinite(t).all()) for t in _floats(outputs)):
        return f"at step {step}: every layer's output is finite, the model's is not; {advice}"
    return f"at step {step}: the model's outputs are finite, so it arises in the loss; {advice}"


def _floats(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values] if values.is_floating_point() else []
    if isinstance(values, dict):
        values = list(values.values())
    return [t for v in values for t in _floats(v)] if isinstance(values, list | tuple) else []


def explain_memory(error: RuntimeError, accumulate: int) -> RuntimeError | None:
    """Turn torch's error of a full memory into advice, if it is one.

    Args:
        error: what was raised.
        accumulate: parts in which batches are taken now.
    """
    full = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
    if not full:
        return None
    reason = str(error).strip().splitlines()[0][:200]
    return torch.OutOfMemoryError(
        f"{reason}: give the trainer accumulate={2 * accumulate}, which takes the same step in "
        "smaller parts, or fit a smaller batch_size; evaluation takes a batch_size of its own"
    )


def find_learning_rate(
    trainer: Trainer,
    train: Data,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 64,
    seed: int = 0,
) -> History:
    """Try learning rates from small to large, one a step, and put everything back.

    Args:
        trainer: its model and optimizer are left as they were.
        train: as in ``Trainer.fit``.
        lowest: the first learning rate.
        highest: the last one; the run ends earlier when the loss is four times the lowest.
        steps: how many are tried, evenly on a logarithmic scale.
        batch_size: examples in a batch.
        seed: of the shuffling.

    Returns:
        A table with the columns step, learning_rate, loss (of the batch) and smoothed (an
        exponential average with the weight 0.1, corrected for its start). A usual choice is a
        third to a tenth of the rate where the smoothed loss is lowest.

    Raises:
        ValueError: if the rates are not 0 < lowest < highest or steps is below 2.

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017).
    """
    if not 0 < lowest < highest:
        raise ValueError(f"rates must be 0 < lowest < highest, got {lowest} and {highest}")
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    feed = Feed(
        place(train, "train", trainer.device), batch_size, seed, trainer.device, trainer.world
    )
    batches, history = feed.batches(), History()
    smooth = 0.0
    with _put_back(trainer):
        for step in range(1, steps + 1):
            rate = lowest * (highest / lowest) ** ((step - 1) / (steps - 1))
            for group in trainer.optimizer.param_groups:
                group["lr"] = rate
            try:
                loss = trainer._update(*next(batches)).item()
            except FloatingPointError:
                break
            if not math.isfinite(loss):
                break
            smooth = 0.9 * smooth + 0.1 * loss
            smoothed = smooth / (1 - 0.9**step)
            history.rows.append(
                {"step": step, "learning_rate": rate, "loss": loss, "smoothed": smoothed}
            )
            if smoothed > 4 * min(history.column("smoothed")):
                break
    return history


def overfit_one_batch(
    trainer: Trainer, batch: tuple[Tensors, Tensors], *, steps: int = 200, target: float = 0.01
) -> History:
    """See whether the model can learn one batch by heart, and put everything back.

    A model that cannot has a bug in the labels, the loss or the layers; to look for it there is
    quicker than in a run over all the data.

    Args:
        trainer: its model and optimizer are left as they were.
        batch: inputs and targets.
        steps: updates at most.
        target: the loss that counts as learned, as a share of the first.

    Returns:
        A table with the columns step and loss; it ends at the step that reached the target.

    Raises:
        RuntimeError: the loss did not come down to the target; the message says how far it came.
    """
    inputs, targets = place(batch, "batch", trainer.device)
    history = History()
    with _put_back(trainer):
        for step in range(1, steps + 1):
            loss = trainer._update(inputs, targets, 1.0).item()
            history.rows.append({"step": step, "loss": loss})
            if loss <= target * history.rows[0]["loss"]:
                return history
    first, last = history.rows[0]["loss"], history.last["loss"]
    raise RuntimeError(
        f"the loss of one batch went from {first:.4g} to {last:.4g} in {steps} steps, not to "
        f"{target:g} of the first: look at the labels, the loss and whether gradients reach every "
        "layer; then at the learning rate"
    )


class _put_back:
    """Restore model, optimizer and averages when a trial is over."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        parts = (self.trainer.model, self.trainer.optimizer, self.trainer.scaler)
        self.states = [copy.deepcopy(part.state_dict()) for part in parts]
        self.schedule, self.trainer.schedule = self.trainer.schedule, None
        self.average, self.trainer.average = self.trainer.average, None
        self.training = self.trainer.model.training
        self.trainer.model.train()

    def __exit__(self, *_: object) -> None:
        parts = (self.trainer.model, self.trainer.optimizer, self.trainer.scaler)
        for part, state in zip(parts, self.states, strict=True):
            part.load_state_dict(state)  # type: ignore[attr-defined]
        self.trainer.schedule, self.trainer.average = self.schedule, self.average
        self.trainer.model.train(self.training)


def profile(
    trainer: Trainer, train: Data, *, steps: int = 10, batch_size: int = 64, rows: int = 15
) -> str:
    """Measure where the time of a step goes, and put everything back.

    Args:
        trainer: its model and optimizer are left as they were.
        train: as in ``Trainer.fit``.
        steps: steps measured, after two that warm up.
        batch_size: examples in a batch.
        rows: operators listed, the most expensive first.

    Returns:
        The table of ``torch.profiler``.
    """
    feed = Feed(place(train, "train", trainer.device), batch_size, 0, trainer.device, trainer.world)
    batches = feed.batches()
    with _put_back(trainer):
        for _ in range(2):
            trainer._update(*next(batches))
        with torch.profiler.profile() as measured:
            for _ in range(steps):
                trainer._update(*next(batches))
    order = "self_cuda_time_total" if trainer.device.type == "cuda" else "self_cpu_time_total"
    return measured.key_averages().table(sort_by=order, row_limit=rows)
