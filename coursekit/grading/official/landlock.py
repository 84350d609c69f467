"""Landlock: what files a process may open, for good and for all that it starts.

Rights that the running kernel does not know cannot be asked for; `handled` says which it knows.
Landlock does not judge stat, chdir, access, chmod or chown: `seccomp` refuses the last two, the
others can tell whether a path that was guessed exists. See landlock(7).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Sequence

from coursekit.grading.official.seccomp import libc

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # on every architecture

WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
MAKE_DIR, MAKE_REG, TRUNCATE = 1 << 7, 1 << 8, 1 << 14
READ = READ_FILE | READ_DIR
# No links, sockets, pipes or devices, and no renaming from one folder into another (REFER).
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE
_FOR_FILES = WRITE_FILE | READ_FILE | TRUNCATE

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 8: 16}  # how many bits, by ABI
_BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS = 0b11, 0b11
_PATH_BENEATH, _VERSION, _QUIET = 1, 1, 1


def version() -> int:
    """Return the ABI that the kernel speaks, 1 or more.

    Raises:
        OSError: ENOSYS when the kernel has no Landlock, EOPNOTSUPP when it is switched off.
    """
    return _call(CREATE_RULESET, None, 0, _VERSION)


def handled(abi: int) -> tuple[int, int, int]:
    """Return the rights of an ABI as masks: files, network, scopes."""
    files = (1 << _FILE_RIGHTS.get(abi, 17)) - 1
    return (
        files,
        _BIND_AND_CONNECT if abi >= 4 else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
    )


def restrict(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Leave this thread nothing but to read some paths and to write below others.

    Every right of the running ABI is denied elsewhere: opening, creating, renaming, linking and
    removing files, device controls, TCP, abstract sockets and signals to others.

    Args:
        readable: Files and folders to read.
        writable: Files to read and write, and folders to do so in, where regular files and folders
            may also be created and removed.

    Raises:
        OSError: When a path does not exist or the kernel refuses.
    """
    abi = version()
    files, network, scopes = handled(abi)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    attributes = struct.pack("=QQQ", files, network, scopes)[:size]
    ruleset = _call(CREATE_RULESET, attributes, size, 0)
    try:
        for paths, rights in ((readable, READ), (writable, WRITE)):
            for path in paths:
                _allow(ruleset, path, rights & files)
        # Nothing of what hostile code tries shall fill the log of the audit subsystem.
        _call(RESTRICT_SELF, ruleset, _QUIET if abi >= 7 else 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _FOR_FILES
        _call(ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: int | bytes | None) -> int:
    converted = [
        ctypes.c_long(argument) if isinstance(argument, int) else ctypes.c_char_p(argument)
        for argument in arguments
    ]
    result: int = libc().syscall(ctypes.c_long(number), *converted)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
