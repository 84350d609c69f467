"""The training engine: where to compute, how to seed, and one loop that every chapter shares.

Names are loaded on first use, so that ``coursekit doctor`` can run where torch is missing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from coursekit.training.device import best_device, diagnose, seed_everything

if TYPE_CHECKING:
    from coursekit.training.checkpoint import CheckpointError, Checkpoints
    from coursekit.training.diagnostics import find_learning_rate, overfit_one_batch, profile
    from coursekit.training.distributed import join_world
    from coursekit.training.history import History
    from coursekit.training.logs import csv_log, tensorboard_log
    from coursekit.training.trainer import Event, Trainer, early_stopping

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "Event",
    "History",
    "Trainer",
    "best_device",
    "csv_log",
    "diagnose",
    "early_stopping",
    "find_learning_rate",
    "join_world",
    "overfit_one_batch",
    "profile",
    "seed_everything",
    "tensorboard_log",
]

_PLACES = {
    "checkpoint": ("CheckpointError", "Checkpoints"),
    "diagnostics": ("find_learning_rate", "overfit_one_batch", "profile"),
    "distributed": ("join_world",),
    "history": ("History",),
    "logs": ("csv_log", "tensorboard_log"),
    "trainer": ("Event", "Trainer", "early_stopping"),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"coursekit.training.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
