"""Callbacks that write down what a run reports: for a spreadsheet, and for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from coursekit.errors import UserError
from coursekit.training.trainer import Event

__all__ = ["csv_log", "tensorboard_log"]


def csv_log(path: str | Path) -> Callable[[Event], None]:
    """Write the history as comma-separated values, anew with every row.

    Args:
        path: the file; its folder is made.

    Returns:
        A callback for ``Trainer(callbacks=…)``.
    """

    def write(event: Event) -> None:
        if event.name == "row":
            event.history.write_csv(path)

    return write


def tensorboard_log(folder: str | Path) -> Callable[[Event], None]:
    """Write every row of the history, and the learning rate, for TensorBoard.

    Args:
        folder: where the event files go.

    Returns:
        A callback for ``Trainer(callbacks=…)``.

    Raises:
        UserError: the package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("tensorboard is not installed: pip install tensorboard") from error
    writer = SummaryWriter(str(folder))

    def write(event: Event) -> None:
        if event.name == "row":
            step = int(event.history.last["step"])
            for name, value in event.history.last.items():
                if name != "step":
                    writer.add_scalar(name, value, step)
            rate = event.trainer.optimizer.param_groups[0]["lr"]
            writer.add_scalar("learning_rate", rate, step)
            writer.flush()
        elif event.name == "end":
            writer.close()

    return write
