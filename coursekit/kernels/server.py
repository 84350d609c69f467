"""The fork server itself: one thread that imports, waits for requests and forks.

A process must not be forked while it has a second thread, so this one never starts any: it imports
with one BLAS thread, calculates nothing, and refuses to serve when a library has started a thread
all the same.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

from coursekit.kernels import child, frames, hugepages

REQUEST_SECONDS = 10.0
LOG_BYTES = 256 << 10
BACKLOG = 128


@dataclass
class Settings:
    """What a server is told when it starts.

    Attributes:
        listener: Descriptor of the listening socket.
        address: Path of that socket.
        log: File for its messages; the server's own error stream.
        warm: Modules to import.
        owner: Descriptor of the owner's pidfd, -1 without an owner.
        lifeline: Descriptor of a socket whose end is the owner's wish to close, -1 without one.
        idle: Seconds without children and requests after which it ends; 0 for never.
    """

    listener: int
    address: str
    log: str
    warm: list[str]
    owner: int = -1
    lifeline: int = -1
    idle: float = 0.0


@dataclass
class Child:
    """A process that runs.

    Attributes:
        pid: Its number.
        pidfd: A descriptor of it.
        client: Where its exit code is sent; None when the client is gone.
    """

    pid: int
    pidfd: int
    client: socket.socket | None


def main(text: str) -> None:
    """Serve until the owner ends or nobody needs the server any more.

    Args:
        text: The settings as JSON.
    """
    settings = Settings(**json.loads(text))
    sys.argv = [""]
    server = Server(settings)
    try:
        warm_up(settings.warm)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    server.serve()


def warm_up(modules: list[str]) -> None:
    """Import modules and make what they left shareable.

    Args:
        modules: Their names; one that is not installed is left out, unless it is of coursekit.

    Raises:
        RuntimeError: A module started a thread.
    """
    gc.disable()
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("", "coursekit"):
                raise
            print(f"not warm: {error}", file=sys.stderr, flush=True)
        if threads() > 1:
            raise RuntimeError(f"importing {name} started a thread: it cannot be kept warm")
    gc.collect()
    gc.freeze()
    gc.enable()
    hugepages.collapse()


def threads() -> int:
    """Count the threads of this process, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))


class Server:
    """Accepts requests, forks and reaps.

    Args:
        settings: What it was started with.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener = socket.socket(fileno=settings.listener)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        for descriptor in (settings.owner, settings.lifeline):
            if descriptor >= 0:
                self.selector.register(descriptor, selectors.EVENT_READ, self._owner_ended)
        self.children: dict[int, Child] = {}
        self.ending = False
        self.last = time.monotonic()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the clients
        signal.signal(signal.SIGTERM, self._terminated)

    def serve(self) -> None:
        """Serve until the end, then take the children along if there is an owner."""
        while not self.ending:
            for key, _ in self.selector.select(self._patience()):
                key.data(key.fileobj)
            if self._patience() == 0.0:
                break
        if self.settings.owner >= 0:
            self._end_children()
            shutil.rmtree(os.path.dirname(self.settings.address), ignore_errors=True)
        else:
            os.unlink(self.settings.address)
        os._exit(0)

    def _patience(self) -> float | None:
        """Return the seconds to wait for the next event, None for any time."""
        if not self.settings.idle or self.children:
            return None
        return max(0.0, self.last + self.settings.idle - time.monotonic())

    def _terminated(self, *_: Any) -> None:
        self.ending = True

    def _owner_ended(self, _: Any) -> None:
        self.ending = True

    def _accept(self, _: Any) -> None:
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        self.last = time.monotonic()
        connection.settimeout(REQUEST_SECONDS)
        descriptors: list[int] = []
        try:
            if not from_same_user(connection):
                raise PermissionError("a request came from another user")
            request, descriptors = frames.receive(connection)
            self._fork(connection, request, descriptors)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._refuse(connection, error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _refuse(self, connection: socket.socket, error: Exception) -> None:
        note(self.settings.log, f"refused a request: {type(error).__name__}: {error}")
        try:
            frames.send(connection, {"error": f"{type(error).__name__}: {error}"})
        except OSError:
            note(self.settings.log, "its client is gone")
        connection.close()

    def _fork(self, connection: socket.socket, request: dict[str, Any], files: list[int]) -> None:
        if threads() > 1:
            raise RuntimeError("the server has more than one thread")
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            child.run(request, files, self.settings.log)
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = Child(pid, pidfd, connection)
        self.selector.register(pidfd, selectors.EVENT_READ, self._reap)
        try:
            frames.send(connection, {"pid": pid}, [pidfd])
        except OSError:
            note(self.settings.log, f"the client of process {pid} is gone")
            os.killpg(pid, signal.SIGKILL)

    def _reap(self, pidfd: Any) -> None:
        ended = self.children.pop(pidfd)
        self.selector.unregister(pidfd)
        _, status = os.waitpid(ended.pid, 0)
        os.close(pidfd)
        self.last = time.monotonic()
        if ended.client is None:
            return
        with contextlib.suppress(OSError):  # the client need not live any more
            frames.send(ended.client, {"code": os.waitstatus_to_exitcode(status)})
        ended.client.close()

    def _end_children(self) -> None:
        for running in self.children.values():
            os.killpg(running.pid, signal.SIGKILL)
            os.waitpid(running.pid, 0)


def from_same_user(connection: socket.socket) -> bool:
    """Say whether the other side of a connection runs as this user."""
    import struct

    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return struct.unpack("3i", credentials)[1] == os.getuid()


def note(log: str, text: str) -> None:
    """Write a line to the log; a log that has grown too long starts again."""
    if os.path.isfile(log) and os.path.getsize(log) > LOG_BYTES:
        os.truncate(log, 0)
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)
