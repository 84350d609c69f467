"""Run a command as root or as nobody, wait for it, and say which of its processes are left.

    python launch.py REPORT UID COMMAND…

UID 0 keeps the user. Any other needs root: the command then runs as that user and group, without
groups and capabilities. Where the interpreter, its packages or the course lie below a folder that
others may not enter, such as a home, a private mount namespace shows that folder with nothing in it
but these. REPORT gets JSON: the exit code, the seconds and the processes that were left.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
import tempfile
import time
from pathlib import Path

PATIENCE = 10.0  # seconds that processes of a finished command may take to end
SUBREAPER, DEATH_SIGNAL, DROP_BOUNDING = 36, 1, 24
NEW_MOUNTS, BIND, RECURSIVE, PRIVATE, DETACH = 0x20000, 0x1000, 0x4000, 1 << 18, 2

libc = ctypes.CDLL(None, use_errno=True)


def demand(result: int) -> None:
    """Raise the error of a call of libc that failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Call mount(2)."""
    words = [text.encode() if text is not None else None for text in (source, target, kind)]
    demand(libc.mount(*words, ctypes.c_ulong(flags), options.encode()))


def closed_folder(path: Path) -> Path | None:
    """Return the first folder on the way to a path that others may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def needed(command: list[str]) -> list[Path]:
    """Return the folders that the command needs: interpreter, packages, its own files."""
    places = [sys.prefix, sys.base_prefix, *sys.path, os.environ.get("PYTHONPATH", ""), os.getcwd()]
    found = {Path(place).resolve() for place in places if place and Path(place).is_dir()}
    inner = {path for path in found if any(path.is_relative_to(other) for other in found - {path})}
    return sorted(found - inner)


def open_ways(places: list[Path]) -> None:
    """Show closed folders with nothing but the given places in them, to this process alone."""
    closed = {place: folder for place in places if (folder := closed_folder(place)) is not None}
    if not closed:
        return
    demand(libc.unshare(NEW_MOUNTS))
    mount("none", "/", None, RECURSIVE | PRIVATE)
    stage = tempfile.mkdtemp()
    mount("none", stage, "tmpfs", 0)
    for number, place in enumerate(closed):
        os.mkdir(f"{stage}/{number}")
        mount(str(place), f"{stage}/{number}", None, BIND | RECURSIVE)
    for folder in sorted(set(closed.values())):
        mount("none", str(folder), "tmpfs", 0, "mode=755")
    for number, place in enumerate(closed):
        place.mkdir(parents=True, exist_ok=True)
        mount(f"{stage}/{number}", str(place), None, BIND | RECURSIVE)
    demand(libc.umount2(stage.encode(), DETACH))
    os.rmdir(stage)


def become(user: int) -> None:
    """Give up root, groups and every capability."""
    for capability in range(64):
        libc.prctl(DROP_BOUNDING, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def run(user: int, command: list[str]) -> int:
    """Run the command in a session of its own and return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if user:
                become(user)
            libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            os.execv(command[0], command)
        finally:
            os._exit(127)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def children() -> list[int]:
    """Return the processes whose parent is this one."""
    return [
        int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    ]


def left_over() -> list[str]:
    """Wait for orphans, then name those that are left and kill them."""
    deadline = time.monotonic() + PATIENCE
    names = []
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return names
        if ended:
            continue
        if time.monotonic() > deadline:
            for process in children():
                command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")
                names.append(f"{process}: {command[:120].decode(errors='replace')}")
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            deadline = time.monotonic() + PATIENCE
        time.sleep(0.02)


def main(report: str, user: int, command: list[str]) -> None:
    """Run the command and write the report."""
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    file = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if user:
        open_ways(needed(command))
    start = time.monotonic()
    code = run(user, command)
    seconds = time.monotonic() - start
    result = {"code": code, "seconds": round(seconds, 2), "left": left_over()}
    os.write(file, json.dumps(result).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
