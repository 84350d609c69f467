"""Confine a learner's process with what Linux gives to every user: no root, no container.

A zygote calls `enter_namespaces` once; each learner's process, forked from it, calls `confine`
before it runs a line of the learner's. Then it computes, reads the interpreter and its libraries,
writes below one folder that nobody else sees, answers on the descriptors that it holds, and nothing
else: four protections (`PROTECTIONS`) overlap, so that a hole in one is covered by another.

What remains possible: asking whether a path that was guessed exists, how large that file is and who
owns it (Landlock does not judge stat); computing until the limits end it; and, when root grades,
starting threads until the address space is full, because the kernel counts no threads of root's.
torch.compile, multiprocessing and subprocesses do not work inside.

The kernel's user id stays, so that lazy imports below a home that only its owner enters still work.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from coursekit.errors import UserError
from coursekit.grading.official import landlock, seccomp

if sys.platform != "win32":
    import resource

PROTECTIONS = ("seccomp", "landlock", "namespaces", "limits")

_NEW_MOUNTS, _NEW_UTS, _NEW_IPC, _NEW_USER, _NEW_NETWORK = (
    1 << 17,
    1 << 26,
    1 << 27,
    1 << 28,
    1 << 30,
)
_NOSUID_NODEV_NOEXEC, _PRIVATE_BELOW = 2 | 4 | 8, 1 << 14 | 1 << 18
_PDEATHSIG, _DUMPABLE, _DROP_BOUND, NO_NEW_PRIVS, _AMBIENT, _CLEAR_ALL = 1, 4, 24, 38, 47, 4
_CAPABILITIES_VERSION = 0x20080522

SETTINGS = Path("/proc/sys")

_zygote = 0  # the process that entered the namespaces


class SandboxError(Exception):
    """A protection that was asked for and could not be had; the process must end."""


@dataclass(frozen=True)
class Protection:
    """Whether a protection works here.

    Attributes:
        name: One of `PROTECTIONS`.
        works: Whether a trial was stopped by it.
        detail: Why it does not work, and what would help; empty when it does.
    """

    name: str
    works: bool
    detail: str = ""


@dataclass(frozen=True)
class Limits:
    """What a learner's process may use.

    Attributes:
        memory: Bytes of address space beyond those in use when it is confined.
        processor_seconds: Seconds on processors, of all threads together; then it is killed.
        file_size: Bytes of one file.
        open_files: Descriptors.
        disk: Bytes of all files in the scratch folder; holds where namespaces do.
        threads: Threads; holds where namespaces do, for every user but root.
    """

    memory: int = 4 << 30
    processor_seconds: int = 300
    file_size: int = 64 << 20
    open_files: int = 64
    disk: int = 256 << 20
    threads: int = 128


def enter_namespaces() -> None:
    """Move this process into namespaces of its own; its children are born there.

    They have no network but an unconfigured loopback, no System V objects of others, and a user
    namespace in which only this process's user exists, under the same id. The process must have one
    thread. It keeps its files and its rights to them, and gains the capability to mount in them
    what `confine` needs.

    Raises:
        SandboxError: When the system forbids it; says what would help.
    """
    global _zygote
    _check_single()
    try:
        enter()
    except OSError as error:
        raise SandboxError(f"namespaces: {why_no_namespaces(error)}") from error
    _zygote = os.getpid()
    if seccomp.supported():
        seccomp.confining(_zygote)  # built once, for all children


def confine(
    readable: Sequence[str],
    scratch: str,
    limits: Limits,
    without: Collection[str] = (),
    keep: Collection[int] | None = None,
) -> None:
    """Confine this process for good, before it runs a learner's code.

    The process must have one thread; others may start afterwards. It dies with its parent, has
    `scratch` as its working directory, home and folder for temporary files, leaves no core dump,
    and can neither be traced nor send signals to other processes. With namespaces, `scratch` is a
    file system in memory that is gone with the process; its folder stays empty for all others.

    Args:
        readable: Files and folders to read, as a rule `readable_paths()`.
        scratch: An empty folder, the only one to write in.
        limits: What the process may use.
        without: Names of protections to leave out, for machines that lack them.
        keep: Close all descriptors but 0, 1, 2 and these; None closes none. What is open can be
            used, wherever it leads.

    Raises:
        SandboxError: When anything that was asked for fails. The process must end then.
        ValueError: When `without` names no protection.
    """
    if unknown := set(without) - set(PROTECTIONS):
        raise ValueError(f"without must name some of {PROTECTIONS}, got {sorted(unknown)}")
    wanted = [name for name in PROTECTIONS if name not in without]
    _check_family("namespaces" in wanted)
    step = "the folder"
    try:
        if keep is not None:
            _close_all_but(keep)
        if "namespaces" in wanted:
            step = "namespaces"
            own_file_system(scratch, limits.disk)
        _move_to(scratch)
        step = "limits"
        if "limits" in wanted:
            set_limits(limits, "namespaces" in wanted)
        step = "privileges"
        _drop_privileges()
        step = "landlock"
        if "landlock" in wanted:
            # threadpoolctl, on which scikit-learn rests, reads the map of its own memory. The open
            # descriptor keeps the kernel from making another inode of it, without this right.
            own_map = f"/proc/{os.getpid()}/maps"
            os.open(own_map, os.O_PATH)
            landlock.restrict([*readable, own_map], [scratch, os.devnull])
        step = "seccomp"
        if "seccomp" in wanted:
            seccomp.install(seccomp.confining(os.getpid()))
    except (OSError, ValueError) as error:
        raise SandboxError(f"{step}: {error}") from error


def readable_paths() -> list[str]:
    """Return what a learner's process must read: the interpreter, libraries, coursekit, no more.

    In /proc and /sys that is the kind and number of processors; `confine` adds the map of the
    process's own memory.

    Packages are found in folders named site-packages or dist-packages; what lies in other places of
    `sys.path` is not readable, except coursekit itself.
    """
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in names]
    paths += [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    paths += [sysconfig.get_config_var("LIBDIR"), str(Path(__file__).parents[2])]
    paths += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"]
    paths += ["/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom", "/dev/zero"]
    # torch asks for the processor's kind before its first product, and takes its slowest code if it
    # learns nothing.
    paths += ["/proc/cpuinfo", "/sys/devices/system/cpu"]
    real = sorted({Path(path).resolve() for path in paths if path and os.path.exists(path)})
    return [str(p) for p in real if not any(q in p.parents for q in real)]


def protections() -> list[Protection]:
    """Try each protection for real, in a process of its own.

    Call it before threads start.
    """
    if sys.platform != "linux":
        system = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, sys.platform)
        return [
            Protection(name, False, f"it needs Linux, this is {system}") for name in PROTECTIONS
        ]
    from coursekit.grading.official.probing import TRIALS, tried

    details = {name: tried(TRIALS[name]) for name in PROTECTIONS}
    return [Protection(name, not detail, detail) for name, detail in details.items()]


def missing() -> list[Protection]:
    """Return the protections that do not work here."""
    return [protection for protection in protections() if not protection.works]


def demand(unsafe: bool = False) -> list[Protection]:
    """Refuse to go on without full protection.

    Args:
        unsafe: Go on all the same.

    Returns:
        The protections that are missing; always empty unless `unsafe`.

    Raises:
        UserError: When one is missing; names it and says what to do.
    """
    lacking = missing()
    if not lacking or unsafe:
        return lacking
    if sys.platform != "linux":
        reason = lacking[0].detail.replace("it needs", "protection needs")
        help_ = "grade on Linux, for example on a virtual machine"
    else:
        reason = "; ".join(f"no {p.name}: {p.detail}" for p in lacking)
        help_ = "mend this"
    raise UserError(
        f"this machine cannot be protected from learners' code ({reason}): {help_}, or give "
        "--unsafe to run their code with your rights, without "
        f"{' or '.join(p.name for p in lacking)}"
    )


def enter() -> None:
    """Enter the namespaces as `enter_namespaces` does; OSError when that is forbidden."""
    user, group = os.getuid(), os.getgid()
    call("unshare", _NEW_USER | _NEW_NETWORK | _NEW_IPC | _NEW_UTS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _check_single() -> None:
    if len(os.listdir("/proc/self/task")) > 1:
        raise SandboxError("a process with several threads cannot be confined: fork it first")


def _check_family(namespaces: bool) -> None:
    _check_single()
    if namespaces and not _zygote:
        raise SandboxError(
            "namespaces: call enter_namespaces() in this process or its parent first"
        )
    if _zygote and _zygote not in (os.getpid(), os.getppid()):
        raise SandboxError("the process that entered the namespaces has ended")


def _close_all_but(keep: Collection[int]) -> None:
    edges = sorted({0, 1, 2, *keep})
    for low, high in zip(edges, [*edges[1:], 1 << 30], strict=True):
        os.closerange(low + 1, high)


def own_file_system(scratch: str, size: int) -> None:
    """Mount a file system in memory over a folder, for this process alone."""
    call("unshare", _NEW_MOUNTS)
    call("mount", b"none", b"/", None, _PRIVATE_BELOW, None)
    options = f"size={size},nr_inodes=4096,mode=700".encode()
    call("mount", b"none", os.fsencode(scratch), b"tmpfs", _NOSUID_NODEV_NOEXEC, options)


def _move_to(scratch: str) -> None:
    os.chdir(scratch)
    for name in ("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        os.environ[name] = scratch
    tempfile.tempdir = None
    sys.dont_write_bytecode = True


def set_limits(limits: Limits, namespaces: bool) -> None:
    """Limit what this process may use, for good; OSError when that fails."""
    sizes = [int(pages) * mmap.PAGESIZE for pages in Path("/proc/self/statm").read_text().split()]
    values = {
        # Shared anonymous memory does not count as data, so the address space is limited as well.
        resource.RLIMIT_AS: sizes[0] + limits.memory,
        resource.RLIMIT_DATA: sizes[5] + limits.memory,
        resource.RLIMIT_CPU: limits.processor_seconds,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_SIGPENDING: 64,
    }
    kinds = (resource.RLIMIT_CORE, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_MEMLOCK)
    values |= dict.fromkeys(kinds, 0)
    if namespaces:  # otherwise everything that the user runs counts
        values[resource.RLIMIT_NPROC] = limits.threads + 1  # and the zygote
    for kind, value in values.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    # When memory runs out, the kernel shall end this process, not one that holds grades.
    Path("/proc/self/oom_score_adj").write_text("1000")


def _drop_privileges() -> None:
    call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(64):
        try:
            call("prctl", _DROP_BOUND, capability, 0, 0, 0)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
            break  # it was the last one, or there is no right to shrink the set; exec is refused
    call("prctl", _AMBIENT, _CLEAR_ALL, 0, 0, 0)
    call("capset", struct.pack("=Ii", _CAPABILITIES_VERSION, 0), bytes(24))
    call("prctl", _DUMPABLE, 0, 0, 0, 0)
    parent = os.getppid()
    call("prctl", _PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        raise OSError(errno.ESRCH, "the parent has ended")


def call(name: str, *arguments: int | bytes | None) -> None:
    """Call a function of the C library that returns 0, or else raise OSError."""
    function = getattr(seccomp.libc(), name)
    converted = [
        ctypes.c_ulong(argument) if isinstance(argument, int) else ctypes.c_char_p(argument)
        for argument in arguments
    ]
    if function(*converted):
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)} ({name})")


def why_no_namespaces(error: OSError) -> str:
    """Say what forbids namespaces, and what would allow them."""
    settings = {
        "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
        "kernel/unprivileged_userns_clone": ("0", "1"),
        "user/max_user_namespaces": ("0", "10000"),
        "user/max_net_namespaces": ("0", "10000"),
    }
    for name, (forbids, allows) in settings.items():
        path = SETTINGS / name
        if path.is_file() and path.read_text().strip() == forbids:
            return f"the system forbids them: sudo sysctl {name.replace('/', '.')}={allows}"
    return (
        f"the system or the container forbids them ({error.strerror}): allow unprivileged user "
        "namespaces"
    )
