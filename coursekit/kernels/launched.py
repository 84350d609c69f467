"""IPython's kernel in a forked process, as ``python -m ipykernel_launcher`` starts it."""

from __future__ import annotations

import importlib
import os
import selectors
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Beyond the application, what a kernel imports while it starts: done by the server, it costs its
# kernels nothing.
import ipykernel
from ipykernel.kernelapp import IPKernelApp

for _name in (
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.zmqshell",
    "psutil",
    "sqlite3",
    "tornado.platform.asyncio",
    "tornado.queues",
):
    importlib.import_module(_name)

BASIS = frozenset(name.partition(".")[0] for name in sys.modules) - {"coursekit"}
INLINE = "module://matplotlib_inline.backend_inline"


class ClientWatcher(threading.Thread):
    """Ends the kernel when its client has ended, as ipykernel's poller does for a parent.

    Args:
        pidfd: A descriptor of the client's process.
    """

    def __init__(self, pidfd: int) -> None:
        super().__init__(name="client watcher", daemon=True)
        self.pidfd = pidfd

    def run(self) -> None:
        """Wait for the end of the client."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.pidfd, selectors.EVENT_READ)
            selector.select()
        os._exit(1)


def run(argument: dict[str, Any], fds: list[int]) -> None:
    """Be a kernel until it is shut down.

    Args:
        argument: "arguments" of the launcher; "bound", whether the kernel ends with its client.
        fds: Where a byte says that clients can connect; the client's pidfd.
    """
    ready, client = fds
    sys.argv = [_launcher(), *argument["arguments"]]
    sys.orig_argv = [sys.executable, "-m", "ipykernel_launcher", *argument["arguments"]]
    _choose_backend()
    # ipykernel read this from the environment when it was imported.
    app: Any = IPKernelApp.instance(parent_handle=int(os.environ.get("JPY_PARENT_PID") or 0))

    def watch() -> None:
        if argument["bound"]:
            app.poller = ClientWatcher(client)
        else:
            os.close(client)

    def tell() -> None:
        os.write(ready, b"1")
        os.close(ready)

    app.init_poller = watch  # its own would see that the parent is the server, not the client
    app.log_connection_info = _then(app.log_connection_info, tell)  # here all sockets listen
    app.init_path = _then(app.init_path, _drop_shadowed)
    app.initialize()
    app.start()


def _then(first: Callable[[], Any], second: Callable[[], Any]) -> Callable[[], None]:
    """Put two steps together."""

    def both() -> None:
        first()
        second()

    return both


def _launcher() -> str:
    """Return the path that ``python -m`` would give as the first argument."""
    return str(Path(str(ipykernel.__file__)).parents[1] / "ipykernel_launcher.py")


def _choose_backend() -> None:
    """Choose the inline backend where no other is asked for, as a kernel does."""
    matplotlib: Any = sys.modules.get("matplotlib")
    if matplotlib is not None and not os.environ.get("MPLBACKEND"):
        matplotlib.rcParams["backend"] = INLINE
    if matplotlib is not None and os.path.exists("matplotlibrc"):
        matplotlib.rc_file("matplotlibrc")


def _drop_shadowed() -> None:
    """Forget modules in whose place the kernel's folder has others, now that it is on the path.

    A kernel's own modules are imported earlier, so nothing there takes their place; what the server
    imported beyond them, a kernel would look for along its path. The package of this course may be
    the client's and not the one on the path, too.
    """
    warm = {name.partition(".")[0] for name in sys.modules} - BASIS
    here = {entry.name.partition(".")[0] for entry in os.scandir()} & warm
    for name in {*here, "coursekit"} & sys.modules.keys():
        if _origin(name) not in (None, _real(sys.modules[name].__file__)):
            for module in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
                del sys.modules[module]


def _origin(name: str) -> str | None:
    """Find the file that importing a name would load; None for no file."""
    specs = (finder.find_spec(name, None) for finder in sys.meta_path)
    spec = next(filter(None, specs), None)
    return _real(spec.origin) if spec is not None else None


def _real(path: str | None) -> str | None:
    return os.path.realpath(path) if path else None
