"""One training loop for the whole course, short enough to be read before it is used.

The loop is the one that every PyTorch tutorial writes by hand: forward, loss, backward, clip,
step. Around it stand what those leave out: batches drawn by indexing from tensors that already lie
on the device, an evaluation of the whole validation set, a table of what happened, checkpoints from
which a run goes on bit for bit, several processes without a change of code, and errors that name
the layer.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from coursekit.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    generator_states,
    restore_generators,
)
from coursekit.training.device import best_device
from coursekit.training.diagnostics import explain_memory, explain_nan
from coursekit.training.distributed import explain_loss, join_world
from coursekit.training.feeding import (
    Data,
    Feed,
    Tensors,
    join,
    length,
    pick,
    place,
    slices,
    to,
)
from coursekit.training.history import History
from coursekit.training.metrics import Metric
from coursekit.training.schedules import Schedule

__all__ = ["Event", "History", "Trainer", "early_stopping"]

Precision = Literal["auto", "fp32", "bf16", "fp16"]

LOOK_EVERY = 50  # steps after which losses that wait on the device are added up


@dataclass(frozen=True)
class Event:
    """What a callback is told.

    Attributes:
        name: "start", "step", "row" (an evaluation was made) or "end".
        trainer: the trainer; its model, optimizer and so on may be looked at and changed.
        step: updates so far.
        history: the table so far; its last row is new when the name is "row".
        loss: of this step's batch, on the device, when the name is "step".
    """

    name: str
    trainer: "Trainer"
    step: int
    history: History
    loss: Tensor | None = None


class Trainer:
    """Fits a model to data.

    Started by ``torchrun`` the same script trains in several processes: each takes its share of
    every batch, and all end with the parameters that one process would have reached.

    Args:
        model: any module; its inputs are passed by position.
        optimizer: a torch optimizer over the model's parameters.
        loss: ``loss(outputs, targets)`` returns a scalar tensor, the mean over the batch.
        metrics: by name, functions ``(outputs, targets) -> float``, computed on all validation
            examples at once (so that F1 is right, too), or streaming metrics, which hold no
            outputs: objects with the methods of ``coursekit.training.metrics.Metric``.
        device: where to compute; the best of this machine when None.
        precision: of the forward pass: "fp32", "bf16", "fp16" (with a scaled loss), or "auto",
            which is bf16 on a GPU that has it, fp16 on another GPU and fp32 elsewhere.
        compile: whether to compile the model by ``torch.compile``.
        channels_last: whether images are stored channel by channel of a pixel; when None, on a GPU
            for models with 2-D convolutions.
        accumulate: parts into which a batch is cut, with one update for all of them: the step of
            the whole batch in less memory.
        clip_norm: largest norm that the gradient of all parameters together may have.
        clip_value: largest size that an element of a gradient may have.
        schedule: a function from the number of updates to a factor of the learning rate, as in
            ``coursekit.training.schedules``, or a torch scheduler, advanced after every step.
        average: decay of an exponential moving average of the weights, which then serves
            `evaluate` and `predict`; none when None.
        callbacks: functions of an `Event`, called in their order, in the leading process only.
        check_every: steps between looks whether the loss is a finite number; when None, 1 on a CPU,
            where an error comes before the bad update is made, and 50 on a GPU, which each look
            makes wait.
        progress: whether to draw a bar; when None, unless ``COURSEKIT_PROGRESS=0`` is set.

    Raises:
        ValueError: if the optimizer holds none of the model's parameters or a number is out of
            range.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Callable[[Any, Any], Tensor],
        *,
        metrics: Mapping[str, Callable[[Any, Any], float] | Metric] | None = None,
        device: torch.device | str | None = None,
        precision: Precision = "auto",
        compile: bool = False,
        channels_last: bool | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        schedule: Schedule | torch.optim.lr_scheduler.LRScheduler | None = None,
        average: float | None = None,
        callbacks: Sequence[Callable[[Event], None]] = (),
        check_every: int | None = None,
        progress: bool | None = None,
    ) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not held & {id(p) for p in model.parameters()}:
            raise ValueError(
                "optimizer must hold the parameters of model, got one that holds none of them: "
                "build it from model.parameters()"
            )
        for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name, count in (("accumulate", accumulate), ("check_every", check_every)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        if average is not None and not 0 < average < 1:
            raise ValueError(f"average must lie between 0 and 1, got {average}")
        self.world = join_world()
        self.device = best_device() if device is None else torch.device(device)
        if self.world.size > 1 and self.device == torch.device("cuda"):
            self.device = torch.device("cuda", self.world.local_rank)
        self.dtype = _precision(precision, self.device)
        if channels_last is None:
            images = any(isinstance(module, nn.Conv2d) for module in model.modules())
            channels_last = images and self.device.type == "cuda"
        self.layout = torch.channels_last if channels_last else torch.preserve_format
        self.model = model.to(self.device).to(memory_format=self.layout)
        self.network = self.world.wrap(self.model, self.device)
        if compile:
            self.network = torch.compile(self.network)  # type: ignore[assignment]
        self.optimizer, self.loss, self.metrics = optimizer, loss, dict(metrics or {})
        self.parameters = _parameters(optimizer)
        scaled = self.dtype is torch.float16 and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.accumulate, self.clip_norm, self.clip_value = accumulate, clip_norm, clip_value
        if schedule is not None and not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        self.schedule = schedule
        self.average: AveragedModel | None = None
        if average is not None:
            mean = get_ema_multi_avg_fn(average)
            self.average = AveragedModel(self.model, multi_avg_fn=mean, use_buffers=True)
        self.callbacks = callbacks if self.world.leads else ()
        self.check_every = check_every or (1 if self.device.type == "cpu" else LOOK_EVERY)
        self.look_every = LOOK_EVERY if self.check_every == 1 else self.check_every
        self.step = 0
        self.batch: Tensors = ()  # of the step, for the guard
        wanted = os.environ.get("COURSEKIT_PROGRESS") != "0" if progress is None else progress
        self.progress = wanted and self.world.leads

    def fit(
        self,
        train: Data,
        validation: Data | None = None,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        batch_size: int | None = 64,
        evaluate_every: int | None = None,
        stop: Callable[[History], bool] | None = None,
        checkpoints: Checkpoints | str | Path | None = None,
        resume: Literal["auto", "never", "must"] = "never",
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
            batch_size: examples in a batch drawn from a pair, over all processes together, shuffled
                anew each epoch; None takes all examples, in their order, at every step.
            evaluate_every: steps between rows of the history; an epoch when None (with a function
                as data, the whole run).
            stop: asked after every row whether to end, for example `early_stopping`.
            checkpoints: where to write checkpoints, and how often; a folder takes the defaults.
            resume: whether to go on from the latest checkpoint: "auto" if there is one, "must", or
                "never". The run then ends as if it had not been interrupted, bit for bit.
            seed: of the shuffling, which touches no global generator.

        Returns:
            A table with the columns step, epoch, loss (the mean over the training examples since
            the row before, each under the parameters of its step) and, with validation data,
            validation_loss and one column for each metric.

        Raises:
            ValueError: if the arguments contradict each other or the data.
            FloatingPointError: if the loss becomes infinite or NaN; the message names the step and
                the first module whose output is not finite.
            CheckpointError: a checkpoint cannot be written or read.
            LostRank: another process of the run died.
        """
        self.parameters = _parameters(self.optimizer)  # groups may have been added
        train = place(train, "train", self.device)
        validation = None if validation is None else place(validation, "validation", self.device)
        feed = Feed(train, batch_size, seed, self.device, self.world)
        steps = _total_steps(epochs, steps, feed.epoch_steps)
        if evaluate_every is not None and evaluate_every < 1:
            raise ValueError(f"evaluate_every must be at least 1, got {evaluate_every}")
        every = evaluate_every or feed.epoch_steps or steps
        if isinstance(checkpoints, str | Path):
            checkpoints = Checkpoints(checkpoints)
        if resume != "never" and checkpoints is None:
            raise ValueError(f"resume={resume!r} needs checkpoints, got None")
        history, losses, first = History(), _Losses(self._explain_nan), 1
        if checkpoints and (resume == "must" or (resume == "auto" and checkpoints.paths())):
            first = 1 + self._restore(checkpoints, history, losses, feed)
            if stop is not None and history and history.last["step"] == first - 1 and stop(history):
                steps = first - 1  # the run had ended
        self.step = first - 1
        batches = feed.batches(first - 1, generator_states() if first > 1 else None)
        self.model.train()
        self._tell("start", first - 1, history)
        # Without a bar there is no tqdm at all: its lock is shared with forked processes, and one
        # that is killed while it holds the lock would stop all others.
        bar = (
            tqdm(total=steps, initial=first - 1, unit="step", leave=False)
            if self.progress
            else None
        )
        with contextlib.nullcontext() if bar is None else bar, self._explained():
            for step in range(first, steps + 1):
                inputs, targets, weight = next(batches)
                self.step, self.batch = step, inputs
                loss = self._update(inputs, targets, weight)
                losses.add(loss, length(targets) if weight else 0)
                if step % self.look_every == 0:
                    losses.settle()
                if bar is not None:
                    bar.update()
                if self.callbacks:
                    self._tell("step", step, history, loss)
                new_row = step % every == 0 or step == steps
                if new_row:
                    row: dict[str, float] = {"step": step}
                    if feed.epoch_steps:
                        row["epoch"] = step // feed.epoch_steps
                    row["loss"] = losses.mean(self.world)
                    if validation is not None:
                        scores = self.evaluate(validation)
                        row |= {f"validation_{name}": value for name, value in scores.items()}
                    history.rows.append(row)
                    if bar is not None:
                        bar.set_postfix_str(f"loss {row['loss']:.4g}")
                    self._tell("row", step, history)
                ends = step == steps or (new_row and stop is not None and stop(history))
                if checkpoints and (ends or checkpoints.due(step, new_row)):
                    self._save(checkpoints, step, history, losses, feed)
                if ends:
                    break
        self._tell("end", self.step, history)
        return history

    def _update(self, inputs: Tensors, targets: Tensors, weight: float) -> Tensor:
        """Take one step and return the loss before it, still on the device."""
        for parameter in self.parameters:
            parameter.grad = None
        if self.accumulate == 1:
            loss = self._backward(inputs, targets, weight)
        else:
            loss = self._backward_in_parts(inputs, targets, weight)
        if self.clip_norm is not None or self.clip_value is not None:
            self.scaler.unscale_(self.optimizer)
            if self.clip_value is not None:
                nn.utils.clip_grad_value_(self.parameters, self.clip_value)
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return loss

    def _backward(self, inputs: Tensors, targets: Tensors, weight: float) -> Tensor:
        loss = self._loss(self._forward(inputs), targets)
        if self.check_every == 1 and weight and not math.isfinite(value := loss.item()):
            self.batch = inputs
            raise FloatingPointError(f"loss is {value} {self._explain_nan()}")
        if self.scaler.is_enabled():
            self.scaler.scale(loss * weight).backward()
        elif weight == 1.0:
            loss.backward()
        else:
            (loss * weight).backward()
        return loss.detach()

    def _backward_in_parts(self, inputs: Tensors, targets: Tensors, weight: float) -> Tensor:
        """Sum the gradients of parts of a batch, each with its share of the examples."""
        count = length(targets)
        parts = torch.arange(count, device=self.device).tensor_split(min(self.accumulate, count))
        total = torch.zeros((), device=self.device)
        for number, rows in enumerate(parts, 1):
            share = len(rows) / count
            # Processes average their gradients once, with the last part.
            silent = number < len(parts) and self.world.size > 1
            with self.network.no_sync() if silent else contextlib.nullcontext():  # type: ignore[operator]
                part = self._backward(pick(inputs, rows), pick(targets, rows), weight * share)
            total += part * share
        return total

    def _loss(self, outputs: Any, targets: Tensors) -> Tensor:
        if self.dtype is None:
            loss = self.loss(outputs, targets)
        else:
            with torch.autocast(self.device.type, self.dtype):
                loss = self.loss(outputs, targets)
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"loss must return a scalar tensor, got {got}: take the mean")
        return loss

    def _forward(self, inputs: Tensors, network: nn.Module | None = None) -> Any:
        network = network or self.network
        if self.layout is torch.channels_last:
            inputs = _channels_last(inputs)
        if self.dtype is None:
            return network(inputs) if isinstance(inputs, Tensor) else network(*inputs)
        with torch.autocast(self.device.type, self.dtype):
            return network(inputs) if isinstance(inputs, Tensor) else network(*inputs)

    @torch.no_grad()
    def evaluate(self, data: Data, batch_size: int = 1024) -> dict[str, float]:
        """Return the loss and every metric of all examples together.

        Args:
            data: a pair ``(inputs, targets)`` or a DataLoader.
            batch_size: examples that pass through the model at once.

        Returns:
            ``loss`` and each metric by name, the same in every process; each example counts once.
        """
        data = place(data, "data", self.device)
        if callable(data):
            raise ValueError(
                "data must be a pair or a DataLoader, got a function, which never ends"
            )
        parts = slices(data, batch_size) if isinstance(data, tuple) else iter(data)
        streaming = {k: m for k, m in self.metrics.items() if isinstance(m, Metric)}
        at_once = {k: m for k, m in self.metrics.items() if not isinstance(m, Metric)}
        for metric in streaming.values():
            metric.reset()
        outputs, targets = [], []
        for number, (inputs, answers) in enumerate(parts):
            if number % self.world.size == self.world.rank:
                outputs.append(self._infer(to(inputs, self.device)))
                targets.append(to(answers, self.device))
                for metric in streaming.values():
                    metric.update(outputs[-1], targets[-1])
        if self.world.size > 1:  # each process has them on another device
            outputs, targets = (to(tuple(part), torch.device("cpu")) for part in (outputs, targets))
        outputs, targets = self.world.gather(outputs), self.world.gather(targets)
        if not outputs:
            raise ValueError("data must hold at least one example, got none")
        joined = join(outputs), join(targets)
        scores = {"loss": float(self.loss(*joined))}
        scores |= {name: float(metric(*joined)) for name, metric in at_once.items()}
        for name, metric in streaming.items():
            metric.reduce(self.world)
            scores[name] = metric.compute()
        return {name: scores[name] for name in ("loss", *self.metrics)}

    @torch.no_grad()
    def predict(self, inputs: Tensors, batch_size: int = 1024) -> Any:
        """Return the model's outputs for all examples, in evaluation mode.

        Args:
            inputs: a tensor with examples along the first axis, or a tuple of such tensors.
            batch_size: examples that pass through the model at once.
        """
        placed = to(inputs, self.device)
        return join([self._infer(part) for part, _ in slices((placed, placed), batch_size)])

    def _infer(self, inputs: Tensors) -> Any:
        network = self.average or self.model
        training = network.training
        network.eval()
        try:
            outputs = self._forward(inputs, network)
        finally:
            network.train(training)
        return outputs if self.dtype is None else _to_float(outputs)

    def _tell(self, name: str, step: int, history: History, loss: Tensor | None = None) -> None:
        for callback in self.callbacks:
            callback(Event(name, self, step, history, loss))

    def _explain_nan(self) -> str:
        forward = partial(self._forward, network=self.model)
        return explain_nan(self.model, forward, self.batch, self.step)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what to do about errors that torch reports in its own words."""
        try:
            yield
        except RuntimeError as error:
            explained = explain_memory(error, self.accumulate) or explain_loss(error, self.world)
            if explained is None:
                raise
            raise explained from error

    def _save(
        self, checkpoints: Checkpoints, step: int, history: History, losses: "_Losses", feed: Feed
    ) -> None:
        pending = losses.pending(self.world)
        if self.world.leads:
            state = {
                "step": step,
                "history": history.rows,
                "losses": pending,
                "epoch": feed.state(step),
                "optimizer": self.optimizer.state_dict(),
                "schedule": _plain_state(self.schedule),
                "scaler": self.scaler.state_dict(),
                "average": self.average.state_dict() if self.average else None,
                "generators": generator_states(),
            }
            row = history.rows[-1] if history and history.last["step"] == step else {}
            checkpoints.save(step, self.model.state_dict(), state, row)
        self.world.wait()

    def _restore(
        self, checkpoints: Checkpoints, history: History, losses: "_Losses", feed: Feed
    ) -> int:
        """Take up the latest checkpoint and return its step."""
        weights, state = checkpoints.load()
        try:
            self.model.load_state_dict(weights)
            self.optimizer.load_state_dict(state["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"{checkpoints.paths()[-1]} is one of another model, optimizer or schedule: name "
                f"another folder, or start without resume ({str(error).splitlines()[0]})"
            ) from error
        self.scaler.load_state_dict(state["scaler"])
        restore_generators(state["generators"])
        history.rows[:] = state["history"]
        losses.restore(state["losses"], self.world)
        feed.epoch_state = state["epoch"]
        return state["step"]


def early_stopping(
    column: str, patience: int, *, largest: bool = False, least_change: float = 0.0
) -> Callable[[History], bool]:
    """End a run when a column of its history has not improved for some rows.

    Args:
        column: for example "validation_loss".
        patience: rows without improvement after which the run ends.
        largest: whether larger is better, as for an accuracy.
        least_change: what counts as an improvement.

    Returns:
        A function for ``Trainer.fit(stop=…)``; it looks at the table alone, so that a run that
        was interrupted ends where it would have ended.

    Raises:
        ValueError: if patience is below 1, or, when it is asked, if there is no such column.
    """
    if patience < 1:
        raise ValueError(f"patience must be at least 1, got {patience}")

    def stop(history: History) -> bool:
        sign = 1 if largest else -1
        values = [sign * value for value in history.column(column)]
        best, since = -math.inf, 0
        for value in values:
            best, since = (value, 0) if value > best + least_change else (best, since + 1)
        return since >= patience

    return stop


class _Losses:
    """Losses that wait on the device until they are looked at together."""

    def __init__(self, explain: Callable[[], str]) -> None:
        self.explain = explain
        self.waiting: list[Tensor] = []
        self.examples: list[int] = []
        self.total, self.count = 0.0, 0.0

    def add(self, loss: Tensor, examples: int) -> None:
        self.waiting.append(loss)
        self.examples.append(examples)

    def settle(self) -> None:
        values = torch.stack(self.waiting).tolist() if self.waiting else []
        for value, number in zip(values, self.examples, strict=True):
            if number and not math.isfinite(value):
                raise FloatingPointError(f"loss is {value} {self.explain()}")
            if number:
                self.total += value * number
                self.count += number
        self.waiting, self.examples = [], []

    def mean(self, world: Any) -> float:
        total, count = self.pending(world)
        self.total, self.count = 0.0, 0.0
        return total / count

    def pending(self, world: Any) -> list[float]:
        self.settle()
        return world.sum(self.total, self.count)

    def restore(self, pending: Sequence[float], world: Any) -> None:
        self.total, self.count = pending if world.leads else (0.0, 0.0)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _precision(name: Precision, device: torch.device) -> torch.dtype | None:
    """Choose the type that autocast computes in; None is plain float32."""
    types = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name != "auto":
        if name not in types:
            raise ValueError(f"precision must be one of auto, {', '.join(types)}, got {name!r}")
        return types[name]
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


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


def _channels_last(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.to(memory_format=torch.channels_last) if values.ndim == 4 else values
    return tuple(_channels_last(value) for value in values)


def _to_float(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.float() if values.is_floating_point() else values
    return tuple(_to_float(value) for value in values)


def _plain_state(schedule: torch.optim.lr_scheduler.LRScheduler | None) -> Any:
    """Return the state of a scheduler without functions, which are given anew."""
    if schedule is None:
        return None
    state = {k: v for k, v in schedule.state_dict().items() if not callable(v)}
    if "lr_lambdas" in state:
        state["lr_lambdas"] = [None] * len(state["lr_lambdas"])
    return state
