"""Try the protections of :mod:`coursekit.grading.official.sandbox` for real, each in a child."""

from __future__ import annotations

import errno
import mmap
import os
import platform
import select
import signal
import socket
import tempfile
import warnings
from collections.abc import Callable

from coursekit.grading.official import landlock, sandbox, seccomp


def tried(trial: Callable[[], str]) -> str:
    """Run a trial in a forked child and return what it says; empty when all is well."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child == 0:
        try:
            try:
                said = trial()
            except BaseException as error:
                said = str(error) or type(error).__name__
            os.write(writing, f"{said}\n".encode()[:4096])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not select.select([pipe], [], [], 20)[0]:
            os.kill(child, signal.SIGKILL)
        said = pipe.readline().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said.removesuffix("\n") if said else f"its trial ended with status {status}"


def _seccomp() -> str:
    if not seccomp.supported():
        return f"system calls of {platform.machine()} are not known here, only x86_64 and aarch64"
    sandbox.call("prctl", sandbox.NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        seccomp.install(seccomp.confining(os.getpid()))
    except OSError as error:
        return f"the kernel or the container forbids filters of system calls ({error.strerror})"
    try:
        socket.socket().close()
    except PermissionError:
        return ""
    return "a filter was installed but did not stop a socket"


def _landlock() -> str:
    sandbox.call("prctl", sandbox.NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        landlock.restrict([], [])
    except OSError as error:
        return _why_no_landlock(error)
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return ""
    return "it was switched on but did not stop a folder from being opened"


def _why_no_landlock(error: OSError) -> str:
    if error.errno == errno.EOPNOTSUPP:
        return (
            "the kernel has it switched off: add landlock to the list lsm= of the boot command line"
        )
    if error.errno == errno.ENOSYS:
        return f"it needs Linux 5.13 or later built with Landlock, this is {platform.release()}"
    return f"the container forbids it ({error.strerror}): allow the landlock system calls"


def _namespaces() -> str:
    before = os.stat("/proc/self/ns/net").st_ino
    try:
        sandbox.enter()
    except OSError as error:
        return sandbox.why_no_namespaces(error)
    if os.stat("/proc/self/ns/net").st_ino == before:
        return "the network is still that of the machine"
    folder = tempfile.gettempdir()
    try:
        sandbox.own_file_system(folder, 1 << 20)
    except OSError as error:
        return f"no file system can be mounted in them ({error})"
    return "" if not os.listdir(folder) else "the file system mounted in them is not empty"


def _limits() -> str:
    try:
        sandbox.set_limits(sandbox.Limits(memory=64 << 20), namespaces=False)
    except OSError as error:
        return f"the system refuses to set them ({error})"
    for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        try:
            mmap.mmap(-1, 128 << 20, flags | mmap.MAP_ANONYMOUS).close()
        except OSError:
            continue
        return "the limit of memory does not hold"
    return ""


TRIALS: dict[str, Callable[[], str]] = {
    "seccomp": _seccomp,
    "landlock": _landlock,
    "namespaces": _namespaces,
    "limits": _limits,
}
