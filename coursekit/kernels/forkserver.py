"""Processes that start with everything imported: a warm server is asked to fork.

A server is an interpreter of its own that has imported torch and the like, has one thread and holds
nothing secret. A client connects to its socket, which lies in a folder that only its user can
enter, and gets back a process: its number and a pidfd, which means that process for ever, while a
number may come to mean another one. Linux only: see `available`.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coursekit.kernels import frames
from coursekit.kernels.places import NoForkServer, reachable
from coursekit.kernels.starting import start

# Nothing that changes other libraries on import, as coursekit.plotting does with its style, or that
# looks for the kernel on import, as matplotlib_inline does.
WARM = (
    "coursekit.kernels.launched",  # first: it notes what every kernel imports, this course or not
    "numpy",
    "torch",
    "torch.utils.data",
    "torch.nn.functional",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "PIL.PngImagePlugin",
    "jaxtyping",
    "coursekit.claims",
    "coursekit.data",
    "coursekit.grading.check",
    "coursekit.language",
    "coursekit.networks",
    "coursekit.pages",
    "coursekit.speech",
    "coursekit.training",
    "coursekit.vision",
)
START_SECONDS = 120.0
END_SECONDS = 10.0
GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9


def available() -> str:
    """Say why no fork server can run here, or "" if one can."""
    if not sys.platform.startswith("linux"):
        return f"forking warm processes needs Linux, this is {sys.platform}"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        return f"this system has no pidfd ({error})"
    return ""


@dataclass
class Forked:
    """A process that a server forked for this one.

    Attributes:
        pid: Its number, which is also that of its session and process group.
        pidfd: A descriptor that means this process alone; readable once it has ended.
    """

    pid: int
    pidfd: int
    _server: socket.socket = field(repr=False)
    _code: int | None = field(default=None, repr=False)

    def alive(self) -> bool:
        """Say whether it runs."""
        return not self.wait(0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end.

        Args:
            timeout: Seconds; None for as long as it takes.

        Returns:
            True once it has ended, False when the time is over.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self.pidfd, selectors.EVENT_READ)
            return bool(selector.select(timeout))

    def exit_code(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs or if nobody knows.

        Nobody knows the code when the server has died.
        """
        if self._code is None and self._server.fileno() >= 0 and self.wait(0.0):
            self._server.settimeout(END_SECONDS)
            try:
                message, _ = frames.receive(self._server)
                self._code = int(message["code"])
            except OSError:
                self._server.close()
        return self._code

    def send_signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal; a process that has ended gets none, which is no error.

        Args:
            number: The signal.
            group: Whether all processes of its group get it, those that it started included.
        """
        try:
            signal.pidfd_send_signal(self.pidfd, number, None, GROUP if group else 0)
        except ProcessLookupError:
            return
        except OSError:
            if not group:
                raise
            if self.alive():  # an older kernel does not know the flag
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it at once, with all processes of its group."""
        self.send_signal(signal.SIGKILL)  # it may not lead a group yet
        self.send_signal(signal.SIGKILL, group=True)

    def close(self) -> None:
        """Give up its descriptors; the process goes on."""
        self._server.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


class ForkServer:
    """A client of a fork server; make one with `private`, `shared` or `connect`.

    Attributes:
        address: Path of the server's socket.
        log: Path of the file with the server's messages.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.log = str(Path(address).with_name("log"))
        self._env: Mapping[str, str] | None = None
        self._start: Callable[[], None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket | None = None

    @classmethod
    def private(
        cls, warm: Sequence[str] = WARM, env: Mapping[str, str] | None = None
    ) -> ForkServer:
        """Start a server of one's own; it ends when it is closed or this process ends.

        The server warms up in the background; the first `fork` waits for it. Its processes end
        with it.

        Args:
            warm: Modules that it imports.
            env: Its environment; this process's by default.

        Raises:
            NoForkServer: This system cannot run one.
        """
        if reason := available():
            raise NoForkServer(reason)
        folder = tempfile.mkdtemp(prefix="coursekit-fork-")
        server = cls(os.path.join(folder, "socket"))
        lifeline, theirs = socket.socketpair()
        owner = os.pidfd_open(os.getpid())
        try:
            server._process = start(
                server.address,
                warm,
                dict(os.environ if env is None else env),
                owner=owner,
                lifeline=theirs.fileno(),
            )
        except BaseException:
            lifeline.close()
            shutil.rmtree(folder)
            raise
        finally:
            theirs.close()
            os.close(owner)
        server._lifeline = lifeline
        return server

    @classmethod
    def shared(
        cls, env: Mapping[str, str] | None = None, options: Sequence[str] = ()
    ) -> ForkServer:
        """Use the server of this environment; it is started when needed and ends when idle.

        A server that has died, or that holds code which has changed since, is replaced by the next
        `fork`. It ends after 10 minutes without processes and requests; the environment variable
        COURSEKIT_KERNEL_SERVER_IDLE says another number of seconds, 0 that there is to be none. Of
        a user's servers at most three listen; the one not used for longest makes room.

        Args:
            env: The environment that its processes are meant for; this process's by default.
                What libraries read of it on import selects the server.
            options: Options of the interpreter.

        Raises:
            NoForkServer: This system cannot run one, or its folder is not this user's alone.
        """
        from coursekit.kernels.shared import Shared

        if reason := available():
            raise NoForkServer(reason)
        one = Shared(dict(os.environ if env is None else env), tuple(options), WARM)
        server = cls(one.address)
        server._env = one.env
        server._start = one.start
        return server

    @classmethod
    def connect(cls, address: str) -> ForkServer:
        """Use a server that runs.

        Args:
            address: Its `address`.
        """
        return cls(address)

    def fork(
        self,
        target: str,
        argument: Any,
        *,
        fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdio: Sequence[int] = (),
        umask: int | None = None,
    ) -> Forked:
        """Start a process that calls ``module:function(argument, fds)``.

        It has a session of its own, new seeds, default signal handlers and no file of the server's.
        It ends with the function's return value as exit code, None meaning 0; an exception is
        written to the server's log and ends it with 1. `sys.path` is the server's.

        Args:
            target: "module:function".
            argument: What JSON can hold.
            fds: Open files of which the function gets copies, as a list of descriptors.
            env: Its whole environment; by default the one that the server was asked for with.
            cwd: Its working directory; the server's, "/", by default.
            stdio: Three descriptors for its 0, 1 and 2; /dev/null by default.
            umask: Its file mode mask; the server's by default.

        Raises:
            NoForkServer: The server is gone, could not start or refused.
            ValueError: `stdio` are not three, or `target` is not of that form.
        """
        if len(stdio) not in (0, 3):
            raise ValueError(f"stdio: expected three descriptors or none, got {len(stdio)}")
        if target.count(":") != 1:
            raise ValueError(f"target: expected 'module:function', got {target!r}")
        env = self._env if env is None else env
        request = {
            "target": target,
            "argument": argument,
            "env": None if env is None else dict(env),
            "cwd": cwd,
            "umask": umask,
            "stdio": len(stdio),
        }
        for start_first in (False, True, True):  # the second may meet a server that is just ending
            if start_first and self._start is not None:
                self._start()
            try:
                return self._ask(request, [*stdio, *fds])
            except OSError as error:
                reason = self._reason(error)
            if self._start is None:
                break
        raise NoForkServer(f"the fork server does not answer: {reason}")

    def _ask(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> Forked:
        """Send one request; OSError when no server answers it."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(START_SECONDS)
            with reachable(self.address) as address:
                connection.connect(address)
            frames.send(connection, request, descriptors)
            reply, received = frames.receive(connection)
            if "stale" in reply:
                raise ConnectionResetError(f"the server is outdated: {reply['stale']} has changed")
            if "error" in reply:
                raise NoForkServer(f"the fork server refused: {reply['error']}")
            return Forked(reply["pid"], received[0], connection)
        except BaseException:
            connection.close()
            raise

    def _reason(self, error: OSError) -> str:
        """Return the last line of the log, which says why a server ended, or the error."""
        try:
            lines = Path(self.log).read_text(encoding="utf-8").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else str(error)

    def close(self) -> None:
        """End a private server and its processes; a shared one is left alone."""
        if self._lifeline is None or self._process is None:
            return
        self._lifeline.shutdown(socket.SHUT_RDWR)  # in copies that other processes hold, too
        self._lifeline.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(Path(self.address).parent, ignore_errors=True)
        self._lifeline = self._process = None
