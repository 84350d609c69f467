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
import struct
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from coursekit.kernels import child, frames
from coursekit.kernels.hugepages import collapse
from coursekit.kernels.places import locked

REQUEST_SECONDS = 10.0
LOG_BYTES = 256 << 10


@dataclass
class Settings:
    """What a server is told when it starts.

    Attributes:
        listener: Descriptor of the listening socket.
        address: Path of that socket.
        log: File for its messages; the server's own error stream.
        warm: Modules to import.
        owner: Descriptor of the owner's pidfd, -1 without an owner.
        lifeline: Descriptor of a socket that the owner shuts down, -1 without one.
        idle: Seconds without children and requests after which it ends; 0 for never.
        lock: File whose lock guards the folders of servers without an owner.
        threads: Environment variables that are kept from libraries until the warm-up is over.
    """

    listener: int
    address: str
    log: str
    warm: list[str]
    owner: int = -1
    lifeline: int = -1
    idle: float = 0.0
    lock: str = ""
    threads: dict[str, str] = field(default_factory=dict)


@dataclass
class Child:
    """A process that runs.

    Attributes:
        pid: Its number.
        client: Where its exit code is sent.
    """

    pid: int
    client: socket.socket


def main(text: str) -> None:
    """Serve until the owner ends or nobody needs the server any more.

    Args:
        text: The settings as JSON.
    """
    settings = Settings(**json.loads(text))
    if settings.owner < 0 and os.fork():
        os._exit(0)  # the server is nobody's child, so nobody has to wait for it
    sys.argv = [""]
    try:
        before = dict(os.environ)
        warm_up(settings.warm)
        changed = {k: v for k, v in os.environ.items() if before.get(k) != v}
        os.environ.pop("OPENBLAS_NUM_THREADS", None)
        os.environ.update(settings.threads)
        server = Server(settings, {name: (before.get(name), changed[name]) for name in changed})
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
    collapse()


def threads() -> int:
    """Count the threads of this process, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))


class Server:
    """Accepts requests, forks and reaps.

    Args:
        settings: What it was started with.
        imported: Environment variables that libraries set on import: their old and new values.
    """

    def __init__(
        self, settings: Settings, imported: dict[str, tuple[str | None, str]] | None = None
    ) -> None:
        self.settings = settings
        self.files = loaded_files()
        ends_with = os.getpid() if settings.owner >= 0 else 0
        self.setup = child.Setup(settings.log, ends_with, imported or {})
        self.listener: socket.socket | None = socket.socket(fileno=settings.listener)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        for descriptor in (settings.owner, settings.lifeline):
            if descriptor >= 0:
                self.selector.register(descriptor, selectors.EVENT_READ, self._end)
        self.children: dict[int, Child] = {}
        self.ending = False
        self.last = time.monotonic()
        wake, self.wakened = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(wake, selectors.EVENT_READ, self._end)
        signal.set_wakeup_fd(self.wakened)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the clients
        signal.signal(signal.SIGTERM, self._end)

    def serve(self) -> None:
        """Serve until the end; the children of an owner's server end with it."""
        while not self.ending:
            for key, _ in self.selector.select(self._patience()):
                if key.fd in self.selector.get_map():
                    key.data(key.fileobj)
            self.ending = self.ending or self._patience() == 0.0
        if self.settings.owner >= 0:
            self._end_children()
            shutil.rmtree(os.path.dirname(self.settings.address), ignore_errors=True)
        else:
            self._retire(forget=True)
        os._exit(0)

    def _patience(self) -> float | None:
        """Return the seconds to wait for the next event, None for any time."""
        if self.children or not self.settings.idle:
            return None
        if self.listener is None:
            return 0.0
        return max(0.0, self.last + self.settings.idle - time.monotonic())

    def _end(self, *_: Any) -> None:
        self.ending = True

    def _retire(self, forget: bool = False) -> None:
        """Take no more requests, and make room for another server."""
        with locked(self.settings.lock):
            if self.listener is not None:
                os.unlink(self.settings.address)
                self.selector.unregister(self.listener)
                self.listener.close()
                self.listener = None
            if forget and not os.path.exists(self.settings.address):
                shutil.rmtree(os.path.dirname(self.settings.address), ignore_errors=True)

    def _accept(self, listener: Any) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        self.last = time.monotonic()
        connection.settimeout(REQUEST_SECONDS)
        descriptors: list[int] = []
        try:
            if not from_same_user(connection):
                raise PermissionError("a request came from another user")
            request, descriptors = frames.receive(connection)
            if self.settings.owner >= 0:
                self._fork(connection, request, descriptors)
            elif "retire" in request:
                self._retire()
                connection.close()
            elif changed := self._changed():
                self._retire()
                frames.send(connection, {"stale": changed})
                connection.close()
            else:
                os.utime(os.path.dirname(self.settings.address))  # it has been used
                self._fork(connection, request, descriptors)
        except frames.Closed:
            connection.close()  # somebody looked whether the server is there
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            self._refuse(connection, error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _changed(self) -> str:
        """Return a file that has changed since it was imported, or ""."""
        for path, stamp in self.files.items():
            if file_stamp(path) != stamp:
                return path
        return ""

    def _refuse(self, connection: socket.socket, error: Exception) -> None:
        note(self.settings.log, f"refused a request: {type(error).__name__}: {error}")
        with contextlib.suppress(OSError):  # the client need not live any more
            frames.send(connection, {"error": f"{type(error).__name__}: {error}"})
        connection.close()

    def _fork(self, connection: socket.socket, request: dict[str, Any], files: list[int]) -> None:
        if missing := child.ASKED - request.keys():
            raise ValueError(f"the request lacks {', '.join(sorted(missing))}")
        if threads() > 1:
            raise RuntimeError("the server has more than one thread")
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            child.run(request, files, self.setup)
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = Child(pid, connection)
        self.selector.register(pidfd, selectors.EVENT_READ, self._reap)
        try:
            frames.send(connection, {"pid": pid}, [pidfd])
        except OSError:
            note(self.settings.log, f"the client of process {pid} is gone")
            os.kill(pid, signal.SIGKILL)

    def _reap(self, pidfd: Any) -> None:
        ended = self.children.pop(pidfd)
        self.selector.unregister(pidfd)
        _, status = os.waitpid(ended.pid, 0)
        os.close(pidfd)
        self.last = time.monotonic()
        with contextlib.suppress(OSError):  # the client need not live any more
            frames.send(ended.client, {"code": os.waitstatus_to_exitcode(status)})
        ended.client.close()

    def _end_children(self) -> None:
        for running in self.children.values():
            os.kill(running.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):  # it may not lead a group yet
                os.killpg(running.pid, signal.SIGKILL)
            os.waitpid(running.pid, 0)


def from_same_user(connection: socket.socket) -> bool:
    """Say whether the other side of a connection runs as this user."""
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


def loaded_files() -> dict[str, tuple[int, int]]:
    """List the files of all imported modules with their time and size."""
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    known = (path for path in paths if isinstance(path, str) and os.path.isabs(path))
    return {path: file_stamp(path) for path in sorted(known)}


def file_stamp(path: str) -> tuple[int, int]:
    """Return when a file changed, in nanoseconds, and its size; zeros if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def note(log: str, text: str) -> None:
    """Write a line to the log; a log that has grown too long starts again."""
    if os.path.isfile(log) and os.path.getsize(log) > LOG_BYTES:
        os.truncate(log, 0)
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)
