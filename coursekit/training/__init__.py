"""The training engine: where to compute, how to seed, and one loop that every chapter shares.

Names are loaded on first use, so that ``coursekit doctor`` can run where torch is missing.
"""

from typing import TYPE_CHECKING, Any

from coursekit.training.device import best_device, diagnose, seed_everything

if TYPE_CHECKING:
    from coursekit.training.trainer import History, Trainer

__all__ = ["History", "Trainer", "best_device", "diagnose", "seed_everything"]


def __getattr__(name: str) -> Any:
    if name in ("History", "Trainer"):
        from coursekit.training import trainer

        return getattr(trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
