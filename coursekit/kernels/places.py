"""Where fork servers listen: a folder that only its user can enter."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coursekit.errors import UserError
from coursekit.kernels import frames


class NoForkServer(UserError):
    """No process can be forked; the message says why."""


def socket_folder() -> Path:
    """Return the folder for sockets of shared servers, made if need be.

    Raises:
        NoForkServer: It is a link, another user's, or others may enter it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and is_own(Path(runtime)):
        folder = Path(runtime) / "coursekit"
    else:
        folder = Path(tempfile.gettempdir()) / f"coursekit-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise NoForkServer(f"no folder for the fork server's socket: {error}") from error
    if not is_own(folder):
        raise NoForkServer(f"{folder} is not a folder of this user alone: remove it")
    return folder


def is_own(folder: Path) -> bool:
    """Say whether a path is a real folder that only this user can enter."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    private = not stat.S_IMODE(status.st_mode) & 0o077
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and private


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the lock of the folder for sockets."""
    import fcntl

    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def reachable(address: str) -> Iterator[str]:
    """Give a path to a socket that is short enough for its system call, which takes 107 bytes.

    Args:
        address: Path of the socket, whose folder exists.
    """
    folder = os.open(os.path.dirname(address), os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(address)}"
    finally:
        os.close(folder)


def request(address: str, message: dict[str, object]) -> None:
    """Send a server a message and do not wait for an answer; a server that is gone gets none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        with reachable(address) as path:
            connection.connect(path)
        frames.send(connection, message)


def answers(address: str) -> bool:
    """Say whether a server listens at an address."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, reachable(address) as path:
            connection.connect(path)
    except OSError:
        return False
    return True
