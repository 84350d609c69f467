"""The handle by which a batch has submissions graded: starts the processes and asks, one by one.

A :class:`Grader` needs no torch itself. It has one examiner, a process forked from a warm server,
and is used by one thread.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from coursekit.errors import UserError
from coursekit.grading.official import sandbox
from coursekit.grading.official.results import FAILED, Grade, Job, grade_from
from coursekit.kernels.forkserver import Forked, ForkServer

WARM = (
    "numpy",
    "torch",
    "coursekit.grading.check",
    "coursekit.grading.official.examiner",
    "coursekit.grading.official.zygote",
)
# What a learner's code may read in its environment; secrets of the caller's stay outside.
INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "TZ",
             "VIRTUAL_ENV")  # fmt: skip
MEMORY = 4 << 30
LENGTH = struct.Struct("!Q")


def environment() -> dict[str, str]:
    """Return the environment of every process that grades."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {
        "COURSEKIT_PROGRESS": "0",
        "CUDA_VISIBLE_DEVICES": "",  # a device's threads do not survive a fork
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }


@cache
def lacking(unsafe: bool) -> list[sandbox.Protection]:
    """Return the protections that are missing here, tried once; call it before threads start.

    Raises:
        UserError: When one is missing and `unsafe` is not set.
    """
    return sandbox.demand(unsafe)


class GraderBroke(Exception):
    """The examiner ended; another grader may be started."""


class Grader:
    """Grades one submission after the other.

    Args:
        solutions: The folder of instructors' notebooks, PART/NAME.ipynb, or their contents by name.
        server: A warm server to fork from; by default one is started.
        seconds: How long one cell or call of a learner's may take.
        unsafe: Grade although a protection is missing.

    Raises:
        UserError: When a protection is missing and `unsafe` is not set.
    """

    def __init__(
        self,
        solutions: Path | Mapping[str, bytes],
        *,
        server: ForkServer | None = None,
        seconds: float = 60.0,
        unsafe: bool = False,
    ):
        without = [protection.name for protection in lacking(unsafe)]
        self._own = start_server() if server is None else None
        server = server or self._own
        assert server is not None
        given = {name: text.decode() for name, text in solutions.items()} if isinstance(
            solutions, Mapping) else str(Path(solutions).resolve())  # fmt: skip
        argument = {
            "address": server.address,
            "memory": MEMORY,
            "seconds": seconds,
            "without": without,
        }
        self._log = Path(server.log)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._examiner: Forked = server.fork(
                "coursekit.grading.official.examiner:serve", argument, fds=[theirs.fileno()]
            )
        send(self._socket, given)

    def grade(self, job: Job) -> Grade:
        """Grade a submission; blocks.

        Args:
            job: The submission.

        Returns:
            Its grade, whatever the submission does.

        Raises:
            GraderBroke: When the examiner itself ended.
        """
        sent = asdict(job)
        sent["content"] = None if job.content is None else job.content.hex()
        try:
            send(self._socket, sent)
            answer = receive(self._socket)
        except OSError:
            answer = None
        if answer is None:
            raise GraderBroke(f"the examiner ended; its log says: {last_line(self._log)}")
        return grade_from(answer)

    def close(self) -> None:
        """End the examiner, and the server if it was started here."""
        with suppress(OSError):  # the other end may have gone first
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for a grade
        self._socket.close()
        if not self._examiner.wait(10):
            self._examiner.kill()
        self._examiner.close()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_server() -> ForkServer:
    """Start a warm server for graders; several may share it.

    Raises:
        UserError: When it cannot be started.
    """
    if sys.platform != "linux":
        raise UserError("official grading forks processes, which needs Linux: grade there")
    return ForkServer.private(warm=WARM, env=environment())


def last_line(log: Path) -> str:
    """Return the last line of a log, or that it is empty."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return (text.strip().splitlines() or ["nothing"])[-1]


def refused(job: Job, reason: str, exercise: str = "", points: float = 0.0) -> Grade:
    """Return the grade of a submission that cannot be run."""
    return _unrun(job, "refused", reason, exercise, points)


def failed(job: Job, reason: str, exercise: str = "", points: float = 0.0) -> Grade:
    """Return the grade of a submission at which the grader itself failed."""
    return _unrun(job, FAILED, reason, exercise, points)


def _unrun(job: Job, status: str, reason: str, exercise: str, points: float) -> Grade:
    return Grade(
        learner=job.learner,
        exercise=exercise or job.exercise,
        status=status,
        max_score=points,
        reason=reason,
        file=job.file,
        sha256=job.sha256,
    )


def send(to: socket.socket, message: Any) -> None:
    """Send what JSON can hold between two processes that trust each other."""
    data = json.dumps(message).encode()
    to.sendall(LENGTH.pack(len(data)) + data)


def receive(source: socket.socket) -> Any:
    """Receive what :func:`send` sent; None when the other end is closed."""
    head = _exactly(source, LENGTH.size)
    if head is None:
        return None
    data = _exactly(source, LENGTH.unpack(head)[0])
    return None if data is None else json.loads(data)


def _exactly(source: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        piece = source.recv(min(count - len(data), 1 << 20))
        if not piece:
            return None
        data += piece
    return bytes(data)
