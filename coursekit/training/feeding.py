"""Where batches come from: tensors on the device, a loader, or a function of the step."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coursekit.training.checkpoint import restore_generators
from coursekit.training.distributed import World

Tensors = Tensor | Sequence[Tensor]
Pair = tuple[Tensors, Tensors]
Data = Pair | Iterable[Pair] | Callable[[int], Pair]


class Feed:
    """Batches without end, each with the weight of this process's share of it.

    Args:
        data: as in ``Trainer.fit``, placed by `place`.
        batch_size: examples in a batch drawn from a pair; None takes all of them in their order.
        seed: of the shuffling.
        device: where batches go.
        world: the processes that share each batch.
    """

    def __init__(
        self, data: Any, batch_size: int | None, seed: int, device: torch.device, world: World
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 or None, got {batch_size}")
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.device, self.world = device, world
        self.epoch_steps = self._steps_of_an_epoch()
        self.epoch_state: dict[str, Any] = {}  # of a loader when its epoch began

    def _steps_of_an_epoch(self) -> int | None:
        data = self.data
        if callable(data):
            return None
        if isinstance(data, tuple):
            return 1 if self.batch_size is None else -(-length(data[0]) // self.batch_size)
        if not hasattr(data, "__len__") or not len(data):
            raise ValueError(
                "train must be a pair (inputs, targets), a DataLoader with at least one batch or a "
                f"function of the step, got {type(data).__name__}"
            )
        return len(data)

    def batches(
        self, after: int = 0, states: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[Tensors, Tensors, float]]:
        """Yield inputs, targets and the weight of the share, from the step that follows `after`.

        Args:
            after: steps of this run that lie behind; the order goes on as if they had been taken.
            states: of the global generators after those steps, as `generator_states` collects
                them; to skip batches of a loader draws numbers.
        """
        if callable(self.data):
            return self._from_function(after)
        if isinstance(self.data, tuple):
            return self._from_tensors(after)
        return self._from_loader(after % len(self.data), states)

    def state(self, step: int) -> dict[str, Any]:
        """Collect what a loader needs to go on after a step; other data need nothing.

        Args:
            step: steps taken so far.
        """
        if callable(self.data) or isinstance(self.data, tuple):
            return {}
        return self.epoch_state if step % len(self.data) else self._loader_state()

    def _from_function(self, after: int) -> Iterator[tuple[Tensors, Tensors, float]]:
        while True:
            after += 1
            yield self._shared(*self.data(after))

    def _from_tensors(self, after: int) -> Iterator[tuple[Tensors, Tensors, float]]:
        inputs, targets = self.data
        count = length(inputs)
        if self.batch_size is None:
            while True:
                yield self._shared(inputs, targets)
        generator = torch.Generator().manual_seed(self.seed)
        epochs, steps = divmod(after, self.epoch_steps or 1)
        for _ in range(epochs):
            torch.randperm(count, generator=generator)
        while True:
            order = torch.randperm(count, generator=generator).to(self.device)
            for rows in order.split(self.batch_size)[steps:]:
                own, weight = self.world.share(rows)
                yield pick(inputs, own), pick(targets, own), weight
            steps = 0

    def _from_loader(
        self, skipped: int, states: Mapping[str, Any] | None
    ) -> Iterator[tuple[Tensors, Tensors, float]]:
        if self.epoch_state:
            torch.set_rng_state(self.epoch_state["torch"])
            for name, part in self._with_state():
                if isinstance(part, torch.Generator):
                    part.set_state(self.epoch_state[name])
                else:
                    part.load_state_dict(self.epoch_state[name])
        while True:
            self.epoch_state = self._loader_state()
            batches = iter(self.data)
            for _ in range(skipped):
                next(batches)
            if skipped and states is not None:
                restore_generators(states)
            skipped = 0
            for inputs, targets in batches:
                yield self._shared(inputs, targets)

    def _loader_state(self) -> dict[str, Any]:
        """Collect the states of all that a loader draws its order from."""
        state: dict[str, Any] = {"torch": torch.get_rng_state()}
        for name, part in self._with_state():
            own = isinstance(part, torch.Generator)
            state[name] = part.get_state() if own else part.state_dict()
        return state

    def _with_state(self) -> Iterator[tuple[str, Any]]:
        """Yield a loader's generator, and its samplers that keep a state."""
        if getattr(self.data, "generator", None) is not None:
            yield "generator", self.data.generator
        for name in ("sampler", "batch_sampler"):
            sampler = getattr(self.data, name, None)
            if hasattr(sampler, "state_dict"):
                yield name, sampler

    def _shared(self, inputs: Tensors, targets: Tensors) -> tuple[Tensors, Tensors, float]:
        weight = 1.0
        if self.world.size > 1:
            rows, weight = self.world.share(torch.arange(length(inputs)))
            inputs, targets = pick(inputs, rows), pick(targets, rows)
        return to(inputs, self.device), to(targets, self.device), weight


def place(data: Data, name: str, device: torch.device) -> Any:
    """Check the data and move a pair of tensors to the device, once.

    Args:
        data: as in ``Trainer.fit``.
        name: what messages call it.
        device: where a pair goes.

    Raises:
        ValueError: a pair is empty or its tensors have different lengths.
    """
    if isinstance(data, list) and data and isinstance(data[0], Tensor):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data
    if len(data) != 2:
        raise ValueError(f"{name} must be a pair (inputs, targets), got {len(data)} items")
    inputs, targets = to(data[0], device), to(data[1], device)
    lengths = {len(tensor) for tensor in (*flat(inputs), *flat(targets))}
    if len(lengths) != 1:
        raise ValueError(
            f"{name} must hold as many targets as inputs, got lengths {sorted(lengths)}"
        )
    if lengths == {0}:
        raise ValueError(f"{name} must hold at least one example, got none")
    return inputs, targets


def flat(values: Tensors) -> list[Tensor]:
    """List the tensors of a tensor or of a tuple of tensors."""
    return [values] if isinstance(values, Tensor) else list(values)


def length(values: Tensors) -> int:
    """Count the examples."""
    return len(flat(values)[0])


def to(values: Any, device: torch.device) -> Any:
    """Move a tensor or nested tuples of tensors."""
    if isinstance(values, Tensor):
        # Only the way to a GPU may go on while the next lines run; the way back must be waited for.
        return values.to(device, non_blocking=device.type == "cuda")
    return tuple(to(value, device) for value in values)


def pick(values: Tensors, rows: Any) -> Any:
    """Choose examples by their numbers or a slice."""
    if not isinstance(values, Tensor):
        return tuple(pick(value, rows) for value in values)
    if isinstance(rows, Tensor):
        return values.index_select(0, rows.to(values.device))
    return values[rows]


def slices(pair: Pair, size: int) -> Iterator[Pair]:
    """Cut a pair into runs of examples."""
    for start in range(0, length(pair[0]), size):
        rows = slice(start, start + size)
        yield pick(pair[0], rows), pick(pair[1], rows)


def join(parts: list[Any]) -> Any:
    """Join outputs of batches along the first axis, tensor by tensor."""
    if not isinstance(parts[0], Tensor):
        return tuple(join(list(part)) for part in zip(*parts, strict=True))
    shapes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(shapes) > 1:
        raise ValueError(
            f"batches must agree in all axes but the first, got {shapes}: pad to one length"
        )
    return torch.cat(parts)
