"""One script for one process and for many: the same code under ``torchrun``.

``torchrun --nproc-per-node 4 train.py`` starts four processes that differ in their rank alone.
Each holds the whole model, works on its share of every batch, and the gradients are averaged before
each step (data parallelism, S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data
Parallel Training", 2020), so that all take the step that one process would take on the whole batch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from coursekit.errors import UserError

__all__ = ["LostRank", "World", "join_world"]

TIMEOUT = 60.0  # seconds that one rank waits for another


class LostRank(UserError, RuntimeError):
    """Another process of the run died or does not answer."""


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: number of this process, from 0; that of rank 0 logs and writes checkpoints.
        size: how many there are.
        local_rank: number of this process on its machine, which is the number of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process logs and writes checkpoints."""
        return self.rank == 0

    def share(self, rows: Tensor) -> tuple[Tensor, float]:
        """Take this process's examples of a batch.

        Args:
            rows: numbers of the examples, the same in every process.

        Returns:
            Every size-th of them, and the factor by which the mean loss over them is multiplied so
            that the average over the processes is the mean over the batch. A process for which
            none is left gets the first one and the factor 0, since all must take part in a step.
        """
        if self.size == 1:
            return rows, 1.0
        own = rows[self.rank :: self.size]
        if len(own) == 0:
            return rows[:1], 0.0
        return own, len(own) * self.size / len(rows)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Make a model average its gradients over the processes.

        Args:
            model: the model, with the same parameters as in rank 0 afterwards.
            device: where it is.
        """
        if self.size == 1:
            return model
        devices = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)

    def sum(self, *values: float) -> list[float]:
        """Add numbers over all processes, in float64."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self._device())
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, items: Sequence[Any]) -> list[Any]:
        """Join lists that were dealt out by turns: item i stands in process i modulo size.

        Args:
            items: this process's items, in their order; tensors should lie on the CPU.

        Returns:
            All items in their order, in every process.
        """
        if self.size == 1:
            return list(items)
        dealt: list[Any] = [None] * self.size
        dist.all_gather_object(dealt, list(items))
        longest = max(map(len, dealt))
        return [part[i] for i in range(longest) for part in dealt if i < len(part)]

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            dist.barrier()

    def _device(self) -> torch.device:
        cuda = dist.get_backend() == "nccl"
        return torch.device("cuda", self.local_rank) if cuda else torch.device("cpu")


def join_world(timeout: float = TIMEOUT) -> World:
    """Join the processes that ``torchrun`` started; without it, stay alone.

    Args:
        timeout: seconds after which a process that waits for another gives up.

    Returns:
        The processes; on machines with GPUs they speak over NCCL, else over Gloo.

    Raises:
        ValueError: timeout is not positive.
    """
    if timeout <= 0:
        raise ValueError(f"timeout must be above 0 seconds, got {timeout}")
    if not dist.is_available() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return World()
    local = int(os.environ["LOCAL_RANK"])
    if not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(local)
        dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(seconds=timeout))
    return World(dist.get_rank(), dist.get_world_size(), local)


def explain_loss(error: RuntimeError, world: World) -> LostRank | None:
    """Turn the error of a broken connection into one line, if it is one."""
    marks = ("Connection closed by peer", "Connection reset", "Timed out", "timed out", "NCCL")
    if world.size == 1 or not any(mark in str(error) for mark in marks):
        return None
    reason = str(error).strip().splitlines()[-1][:200]
    return LostRank(
        f"rank {world.rank} of {world.size} lost another process ({reason}): look at the output of "
        'the others for the cause; start again with resume="auto" to go on from the last checkpoint'
    )
