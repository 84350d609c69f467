"""Checkpoints that are whole or not there, and from which a run goes on bit for bit.

A checkpoint is a folder: ``model.safetensors`` (the weights, for any program that reads the
format), ``state.safetensors`` and ``state.json`` (optimizer, schedule, averages, generators,
position). It is written under another name, brought to the disk and renamed, so that a run killed
at any moment leaves only whole ones. Nothing is unpickled when it is read.
"""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from coursekit.errors import UserError

__all__ = ["CheckpointError", "Checkpoints", "generator_states", "restore_generators"]

STEP = "step-{:09d}"
FILES = ("model.safetensors", "state.safetensors")


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be read or is one of another run."""


class Checkpoints:
    """A folder of checkpoints of one run.

    Args:
        folder: where they stand; made when the first is written.
        every: steps between two; with None one is written with every row of the history.
        keep: how many of the latest to keep.
        best: a column of the history; a checkpoint is then written with every row, too, and the
            one of the best row is kept besides.
        largest: whether the best is the largest value, as for an accuracy, not the smallest.

    Raises:
        ValueError: every or keep is below 1.
    """

    def __init__(
        self,
        folder: str | Path,
        every: int | None = None,
        keep: int = 3,
        best: str | None = None,
        largest: bool = False,
    ) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.folder, self.every, self.keep = Path(folder), every, keep
        self.best, self.largest = best, largest

    def due(self, step: int, new_row: bool) -> bool:
        """Say whether a checkpoint is to be written.

        Args:
            step: updates so far.
            new_row: whether the history has a row of this step.
        """
        return (new_row and (self.every is None or self.best is not None)) or (
            self.every is not None and step % self.every == 0
        )

    def paths(self) -> list[Path]:
        """List the checkpoints, the oldest first."""
        return sorted(self.folder.glob(STEP.replace("{:09d}", "[0-9]*")))

    def best_path(self) -> Path | None:
        """Return the checkpoint with the best value of the column `best`."""
        scored = []
        for path in self.paths():
            value = json.loads((path / "state.json").read_text())["row"].get(self.best)
            if value is not None:
                scored.append((value if self.largest else -value, path))
        return max(scored)[1] if scored else None

    def save(
        self, step: int, weights: Mapping[str, Tensor], state: Any, row: Mapping[str, float]
    ) -> Path:
        """Write a checkpoint and remove those that are no longer to be kept.

        Args:
            step: updates so far, which gives the name.
            weights: the model's state.
            state: numbers, strings, tensors and arrays in nested lists, tuples and dictionaries.
            row: the row of the history made at this step, for `best`; empty if there is none.

        Returns:
            Its folder.

        Raises:
            CheckpointError: it cannot be written; the older ones are untouched.
        """
        path = self.folder / STEP.format(step)
        draft = self.folder / f".{path.name}"
        tensors: dict[str, Tensor] = {}
        rest = _take_tensors(state, tensors)
        try:
            for rest_of_a_killed_run in self.folder.glob(".step-*"):
                shutil.rmtree(rest_of_a_killed_run)
            draft.mkdir(parents=True)
            save_file(_own(weights), draft / FILES[0])
            save_file(_own(tensors), draft / FILES[1])
            sums = {name: _sha256(draft / name) for name in FILES}
            content = {"step": step, "row": dict(row), "sha256": sums, "state": rest}
            (draft / "state.json").write_text(json.dumps(content))
            for file in draft.iterdir():
                _to_disk(file)
            _to_disk(draft)
            if path.is_dir():
                self._remove(path)  # of an earlier run to the same step
            os.replace(draft, path)
            _to_disk(self.folder)
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be written ({error.strerror}): make room or name another folder; "
                "older checkpoints are untouched"
            ) from error
        kept = {*self.paths()[-self.keep :], self.best_path() if self.best else None}
        for old in self.paths():
            if old not in kept:
                self._remove(old)
        return path

    def _remove(self, path: Path) -> None:
        """Remove a checkpoint so that, at every moment, it is whole or not there."""
        hidden = path.with_name(f".{path.name}-removed")
        os.replace(path, hidden)
        shutil.rmtree(hidden)

    def load(self, path: Path | None = None) -> tuple[dict[str, Tensor], Any]:
        """Read a checkpoint.

        Args:
            path: its folder; the latest when None.

        Returns:
            The weights and the state.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        found = self.paths()
        if path is None and not found:
            raise CheckpointError(f"{self.folder} holds no checkpoint: start without resume")
        path = found[-1] if path is None else Path(path)
        try:
            content = json.loads((path / "state.json").read_text())
            for name in FILES:
                if _sha256(path / name) != content["sha256"][name]:
                    raise ValueError(f"{name} has another SHA-256 than was written")
            weights, tensors = (load_file(path / name) for name in FILES)
            return weights, _put_tensors(content["state"], tensors)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise CheckpointError(
                f"{path} cannot be read ({error}): remove that folder to go on from the one before"
            ) from error


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy to the CPU; tied weights and views get memory of their own, as the format asks."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by their names, and what JSON does not know by lists with a mark."""
    if isinstance(value, np.ndarray):
        return ["array", _take_tensors(torch.from_numpy(value.copy()), tensors)]
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return ["tensor", name]
    if isinstance(value, dict):
        pairs = [[_take_tensors(k, tensors), _take_tensors(v, tensors)] for k, v in value.items()]
        return ["dict", pairs]
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [_take_tensors(item, tensors) for item in value]]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds numbers, strings and tensors, got {type(value).__name__}")


def _put_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return _put_tensors(content, tensors).numpy()
    if kind == "dict":
        return {_put_tensors(k, tensors): _put_tensors(v, tensors) for k, v in content}
    items = [_put_tensors(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def generator_states() -> dict[str, Any]:
    """Collect the states of the global generators of Python, NumPy, torch and every GPU."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - what other libraries draw from
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(states: Mapping[str, Any]) -> None:
    """Set the global generators to states that `generator_states` collected."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)
