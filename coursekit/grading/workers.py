"""Call a function in a process of its own: fresh, with one thread, nothing of the caller's in it.

Every worker is an interpreter that starts for it, or, within :func:`sharing` where forking is safe,
a fork of one interpreter that has imported torch and computed nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from coursekit.kernels import forkserver
from coursekit.kernels.forkserver import Forked, ForkServer, available
from coursekit.kernels.places import NoForkServer

CAN_FORK = sys.platform == "linux"
ENVIRONMENT = {
    "COURSEKIT_PROGRESS": "0",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
TIME_LIMIT, DIED = "TimeLimit", "Died"
# What exercises import, without what kernels need. torch imports the last one when an optimizer is
# first used.
WARM = (
    *(module for module in forkserver.WARM if module != "coursekit.kernels.launched"),
    "coursekit.grading.examination",
    "scipy.special",
    "torch._dynamo",
)

_running: list[subprocess.Popen | Forked] = []


class WorkerFailed(Exception):
    """A worker that ended without an answer; ``kind`` is "Died" or "TimeLimit"."""

    def __init__(self, kind: str, text: str):
        self.kind = kind
        super().__init__(text)


class _Shared:
    """The interpreter that workers are forked from, started when the first one is needed."""

    def __init__(self) -> None:
        self.users = 0
        self.ended = False
        self._lock = threading.Lock()
        self._server: ForkServer | None = None

    def server(self) -> ForkServer | None:
        with self._lock:
            if self.ended:
                raise WorkerFailed(DIED, "it was interrupted")
            if self._server is None and self.users and not available():
                self._server = ForkServer.private(WARM, {**os.environ, **ENVIRONMENT})
            return self._server

    def close(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None


_shared = _Shared()


@contextlib.contextmanager
def sharing() -> Iterator[None]:
    """Fork the workers that start inside of this from one warm interpreter."""
    _shared.users += 1
    try:
        yield
    finally:
        _shared.users -= 1
        if not _shared.users:
            _shared.close()
            _shared.ended = False


def in_worker(
    function: Callable[[Any], Any],
    argument: Any,
    folder: Path,
    seconds: float,
    fresh: bool = False,
) -> Any:
    """Call a module's function in a process of its own.

    Args:
        function: A public function of a module; takes and returns what JSON can hold.
        argument: What to call it with.
        folder: The working directory.
        seconds: How long it may take.
        fresh: Whether to start an interpreter for it also within :func:`sharing`.

    Raises:
        WorkerFailed: When it dies or takes longer; the text says why.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch, "asked.json"), Path(scratch, "answered.json")
        asked.write_text(json.dumps(argument), encoding="utf-8")
        order = [f"{function.__module__}:{function.__name__}", str(asked), str(answered)]
        server = None if fresh else _shared.server()
        try:
            if server is None:
                _in_fresh(order, folder, seconds)
            else:
                _in_fork(server, order, folder, seconds)
        except NoForkServer as error:
            raise WorkerFailed(DIED, str(error)) from error
        answer = json.loads(answered.read_text(encoding="utf-8"))
        if "raised" in answer:
            raise WorkerFailed(DIED, f"it ended with code 1: {answer['raised']}")
        return answer["returned"]


def _in_fresh(order: list[str], folder: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from coursekit.grading.workers import main; main()", *order],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=CAN_FORK,
    )
    _running.append(process)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise WorkerFailed(TIME_LIMIT, f"it took longer than {seconds:g} s") from error
    finally:
        _running.remove(process)
        if process.poll() is None:
            _kill(process)
            process.communicate()
    if not Path(order[2]).is_file():
        lines = errors.decode(errors="replace").strip().splitlines() or ["no message"]
        raise WorkerFailed(DIED, f"it ended with code {process.returncode}: {lines[-1]}")


def _in_fork(server: ForkServer, order: list[str], folder: Path, seconds: float) -> None:
    process = server.fork("coursekit.grading.workers:carry_out", order, cwd=str(folder))
    _running.append(process)
    try:
        if not process.wait(seconds):
            raise WorkerFailed(TIME_LIMIT, f"it took longer than {seconds:g} s")
        if not Path(order[2]).is_file():
            raise WorkerFailed(DIED, f"it ended with code {process.exit_code()}: no message")
    finally:
        _running.remove(process)
        process.kill()
        process.close()


def end_workers() -> None:
    """End every worker, for a caller that was interrupted; within `sharing` no other starts."""
    _shared.ended = bool(_shared.users)
    for process in list(_running):
        _kill(process)
    _shared.close()


def _kill(process: subprocess.Popen | Forked) -> None:
    """Kill a worker, with the trials that it forked."""
    if isinstance(process, Forked):
        process.kill()
    elif process.poll() is not None:
        return
    elif CAN_FORK:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def main() -> None:
    """Do what :func:`in_worker` asks for in this interpreter."""
    carry_out(sys.argv[1:], [])


def carry_out(order: list[str], descriptors: list[int]) -> None:
    """Call a function as :func:`in_worker` asks for and write down what came of it.

    Args:
        order: "module:function", the file with its argument and that for the answer.
        descriptors: None are expected.
    """
    place, asked, answered = order
    module, name = place.split(":")
    argument = json.loads(Path(asked).read_text(encoding="utf-8"))
    try:
        answer = {"returned": getattr(importlib.import_module(module), name)(argument)}
    except Exception as error:
        answer = {"raised": f"{type(error).__name__}: {error}"}
    written = Path(f"{answered}.new")
    written.write_text(json.dumps(answer), encoding="utf-8")
    written.rename(answered)


class Beside:
    """A copy of this process that computes something while this one goes on.

    Args:
        function: What to compute; returns what JSON can hold.
    """

    def __init__(self, function: Callable[[], Any]):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            try:
                with os.fdopen(writing, "wb") as pipe:
                    pipe.write(json.dumps(function()).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(writing)
        self._pipe = os.fdopen(reading, "rb")

    def result(self) -> Any:
        """Wait for it and return what it computed.

        Raises:
            WorkerFailed: When it ended without.
        """
        with self._pipe as pipe:
            line = pipe.readline()
        os.waitpid(self.pid, 0)
        if not line.endswith(b"\n"):
            raise WorkerFailed(DIED, "the process ended")
        return json.loads(line)


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_lines(reading: int, seconds: float) -> tuple[list[bytes], bool]:
    """Read whole lines until the other end closes; return them and whether it did in time."""
    import select

    deadline, data = time.monotonic() + seconds, bytearray()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while (left := deadline - time.monotonic()) > 0 and select.select([pipe], [], [], left)[0]:
            chunk = pipe.read(1 << 16)
            if not chunk:
                return bytes(data).split(b"\n")[:-1], True
            data += chunk
    return bytes(data).split(b"\n")[:-1], False
