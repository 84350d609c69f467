"""A Jupyter kernel that survives what learners run in it: loops, floods of output, its own end."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import NoSuchKernel

from coursekit.errors import UserError
from coursekit.grading.messages import MIME
from coursekit.grading.trials import ENVIRONMENT
from coursekit.kernels.managers import ForkedKernelManager

START_SECONDS = 120
GRACE_SECONDS = 2.0
MOST_DISPLAYS = 1000
MOST_CHARACTERS = 4 * 2**20
RUNNERS = ("ACTIONS_", "GITHUB_", "PYTEST_")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Ran:
    """What came of one cell.

    Attributes:
        status: "ok", "error", "time limit" or "died".
        error: For an error, its type.
        text: Its message.
        line: The line of the cell where it was raised, 0 when unknown.
        displays: Of every message of a check that was displayed, or that looks like one, the text
            and the data for programs, by MIME type; the first 1,000 and 4 MB of text.
    """

    status: str = "ok"
    error: str = ""
    text: str = ""
    line: int = 0
    displays: list[dict[str, Any]] = field(default_factory=list)


class Kernel:
    """A Python kernel that can be started more than once.

    Args:
        folder: Where its code runs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._manager: ForkedKernelManager | None = None
        self._client: BlockingKernelClient | None = None

    @property
    def alive(self) -> bool:
        """Whether the kernel runs."""
        return self._manager is not None and self._manager.is_alive()

    def start(self) -> None:
        """Start a new kernel; an old one is ended first.

        Raises:
            UserError: When no kernel can be started.
        """
        self.stop()
        self._manager = ForkedKernelManager(kernel_name="python3")
        try:
            self._manager.start_kernel(
                cwd=str(self.folder),
                env=_environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._client = self._manager.blocking_client()
            self._client.start_channels()
            self._client.wait_for_ready(timeout=START_SECONDS)
        except (NoSuchKernel, RuntimeError, OSError) as error:
            self.stop()
            raise UserError(
                f"no Jupyter kernel could be started ({error}): run coursekit doctor"
            ) from error

    def stop(self) -> None:
        """End the kernel; one that is gone already is no error."""
        if self._client is not None:
            self._client.stop_channels()
        if self._manager is not None:
            self._manager.shutdown_kernel(now=True)
        self._client = self._manager = None

    def run(self, source: str, seconds: float) -> Ran:
        """Run a cell.

        Args:
            source: Its text.
            seconds: How long it may take. Then it is interrupted, and the kernel is killed when
                the cell ignores that.
        """
        assert self._client is not None
        assert self._manager is not None
        message = self._client.execute(source, allow_stdin=False, stop_on_error=False)
        ran = Ran()
        if self._follow(message, ran, time.monotonic() + seconds):
            return ran
        if not self._manager.is_alive():
            return Ran("died", text="the kernel died")
        ran = Ran("time limit", text=f"it took longer than {seconds:g} s", displays=ran.displays)
        self._manager.interrupt_kernel()
        if not self._follow(message, Ran(), time.monotonic() + GRACE_SECONDS):
            self.stop()
        return ran

    def _follow(self, message: str, ran: Ran, deadline: float) -> bool:
        """Collect what a cell sends until it has ended; False at the deadline or a dead kernel."""
        assert self._client is not None
        room = MOST_CHARACTERS
        while (left := deadline - time.monotonic()) > 0:
            try:
                reply = self._client.get_iopub_msg(timeout=min(left, 0.25))
            except queue.Empty:
                if not self.alive:
                    return False
                continue
            if reply["parent_header"].get("msg_id") != message:
                continue
            content = reply["content"]
            if reply["msg_type"] == "status" and content["execution_state"] == "idle":
                return True
            if reply["msg_type"] == "error":
                ran.status, ran.error, ran.text = "error", content["ename"], content["evalue"]
                ran.line = _line(content["traceback"], content["evalue"])
            elif MIME in content.get("data", {}):
                kept = {kind: content["data"].get(kind, "") for kind in (MIME, "text/plain")}
                room -= len(str(kept))
                if room > 0 and len(ran.displays) < MOST_DISPLAYS:
                    ran.displays.append(kept)
        return False


def _environment() -> dict[str, str]:
    """Return what a kernel sees of the environment: nothing of the run that started it."""
    theirs = {k: v for k, v in os.environ.items() if not k.startswith(RUNNERS)}
    return theirs | {k: v for k, v in ENVIRONMENT.items() if k != "MPLBACKEND"}


def _line(traceback: list[str], text: str) -> int:
    """Return the line of the cell at which an exception was raised."""
    plain = ANSI.sub("", "\n".join(traceback))
    found = re.search(r"Cell In\[\d+\], line (\d+)", plain) or re.search(r"line (\d+)\)$", text)
    return int(found[1]) if found else 0
