"""The first moments of a forked process: what makes it a process of its own.

Everything that it inherits from the server and that a process started afresh would not have is
replaced here: the session, the open files, signal handlers, exit handlers, seeds, the environment,
and what libraries derived from the environment when the server imported them.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FAILED = 1  # exit code of a target that raised
ASKED = {"target", "argument", "env", "cwd", "umask", "stdio"}
PR_SET_PDEATHSIG = 1
BLAS_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


@dataclass
class Setup:
    """What the server knows that its children need.

    Attributes:
        log: File that a target's exception is written to.
        server: Number of the server's process if its children are to end with it, otherwise 0.
        imported: Environment variables that libraries set on import: their old and new values.
        blas: Functions of loaded OpenBLAS libraries that set the number of threads.
    """

    log: str
    server: int
    imported: Mapping[str, tuple[str | None, str]]
    libc: Any = field(default_factory=lambda: ctypes.CDLL(None, use_errno=True))
    blas: list[Any] = field(default_factory=lambda: blas_setters())


def run(request: Mapping[str, Any], descriptors: Sequence[int], setup: Setup) -> None:
    """Become what was asked for and end; never returns.

    Args:
        request: All of ASKED, as in `ForkServer.fork`, but "stdio" is the number of descriptors
            that are to be 0, 1 and 2: three or none.
        descriptors: Open files from the client, those for 0, 1 and 2 first.
        setup: What the server knows.
    """
    code = FAILED
    try:
        os.setsid()
        _end_with(setup)
        own = _own_files(descriptors, int(request["stdio"]))
        _reset_handlers()
        _enter(request, setup)
        _reseed()
        _adapt_libraries(setup.blas)
        module, function = str(request["target"]).split(":")
        result = getattr(importlib.import_module(module), function)(request["argument"], own)
        code = 0 if result is None else int(result)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:  # a process ends here, whatever ended it
        _report(setup.log)
    finally:
        _leave(code)


def _end_with(setup: Setup) -> None:
    """Ask the system to end this process with the server."""
    if setup.server:
        setup.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != setup.server:
            os._exit(FAILED)


def _own_files(descriptors: Sequence[int], stdio: int) -> list[int]:
    """Put 0, 1 and 2 in place and close all that is not the child's own."""
    if stdio:
        sources = list(descriptors[:3])
    else:
        null = os.open(os.devnull, os.O_RDWR)
        sources = [null] * 3
    for target, source in enumerate(sources):
        os.dup2(source, target)
    own = list(descriptors[stdio:])
    last = 2
    for descriptor in sorted(own):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
    return own


def _reset_handlers() -> None:
    """Give up the server's signal and exit handlers; keep what libraries need at the end."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)  # as Python starts
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    if "logging" in sys.modules:
        atexit.register(sys.modules["logging"].shutdown)
    if "multiprocessing.process" in sys.modules:
        process: Any = sys.modules["multiprocessing.process"]
        process._current_process = type(process._current_process)()  # with keys of its own
    if "multiprocessing.util" in sys.modules:
        atexit.register(sys.modules["multiprocessing.util"]._exit_function)


def _enter(request: Mapping[str, Any], setup: Setup) -> None:
    """Take over the environment and the folder."""
    if request["env"] is not None:
        os.environ.clear()
        os.environ.update(request["env"])
        for name, (old, new) in setup.imported.items():
            if os.environ.get(name) == old:
                os.environ[name] = new
        time.tzset()
    tempfile.tempdir = None
    if request["umask"] is not None:
        os.umask(request["umask"])
    if request["cwd"] is not None:
        os.chdir(request["cwd"])
    importlib.invalidate_caches()


def _reseed() -> None:
    """Draw new seeds; a fresh process would have its own."""
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def _adapt_libraries(blas: Sequence[Any]) -> None:
    """Tell libraries what they would have read from the environment when they were imported."""
    threads = _number("MKL_NUM_THREADS") or _number("OMP_NUM_THREADS")
    if "torch" in sys.modules and threads:
        sys.modules["torch"].set_num_threads(threads)
    names = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
    wanted = next(filter(None, map(_number, names)), len(os.sched_getaffinity(0)))
    for set_threads in blas if wanted > 1 else ():
        set_threads(wanted)
    backend = os.environ.get("MPLBACKEND")
    if "matplotlib" in sys.modules and backend:
        sys.modules["matplotlib"].rcParams["backend"] = backend
    if "multiprocessing.process" in sys.modules:
        process: Any = sys.modules["multiprocessing.process"]
        process.ORIGINAL_DIR = os.getcwd()


def _number(name: str) -> int:
    """Read a number of threads from the environment, 0 if it says none."""
    text = os.environ.get(name, "").split(",")[0].strip()
    return int(text) if text.isdecimal() else 0


def blas_setters() -> list[Any]:
    """Find the functions that set the number of threads in the loaded OpenBLAS libraries."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if "openblas" in line}
    setters = []
    for path in sorted(paths):
        library = ctypes.CDLL(path)
        setters += [getattr(library, name) for name in BLAS_SETTERS if hasattr(library, name)][:1]
    return setters


def _exit_code(end: SystemExit) -> int:
    """Translate sys.exit as the interpreter does."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return FAILED


def _report(log: str) -> None:
    """Write the exception to the server's log and to the child's own error stream."""
    text = traceback.format_exc()
    try:
        sys.stderr.write(text)
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"process {os.getpid()}:\n{text}")
    except (OSError, ValueError):
        return  # a confined process cannot reach the log; its exit code says that it failed


def _leave(code: int) -> None:
    """End without the interpreter's slow farewell to every module."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException:
        code = code or FAILED
    finally:
        os._exit(code)
