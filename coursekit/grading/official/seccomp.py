"""A filter of system calls, written as a classic BPF program for x86_64 and aarch64.

What is not listed is refused, so that a call which a later kernel adds is refused too: calls with
a known number fail with EPERM, those above `NEWEST` with ENOSYS, as on a kernel that lacks them.
A call by another architecture's entry (i386 on x86_64, 32-bit ARM on aarch64) kills the process;
x32 numbers lie above `NEWEST`. Numbers are those of Linux 6.18. See seccomp(2) and
Documentation/userspace-api/seccomp_filter.rst of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

NEWEST = 470
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

KILL, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_IF_EQUAL, _IF_AT_LEAST = 0x15, 0x35
_SET_MODE_FILTER, _TSYNC = 1, 1

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand

# name, number on x86_64, number on aarch64; "-" where it does not exist
_NUMBERS = """
read 0 63, write 1 64, open 2 -, close 3 57, stat 4 -, fstat 5 80, lstat 6 -, poll 7 -,
lseek 8 62, mmap 9 222, mprotect 10 226, munmap 11 215, brk 12 214, rt_sigaction 13 134,
rt_sigprocmask 14 135, rt_sigreturn 15 139, ioctl 16 29, pread64 17 67, pwrite64 18 68,
readv 19 65, writev 20 66, access 21 -, pipe 22 -, select 23 -, sched_yield 24 124,
mremap 25 216, msync 26 227, madvise 28 233, dup 32 23, dup2 33 -, pause 34 -,
nanosleep 35 101, getitimer 36 102, alarm 37 -, setitimer 38 103, getpid 39 172,
sendfile 40 71, socket 41 198, sendto 44 206, recvfrom 45 207, sendmsg 46 211, recvmsg 47 212,
shutdown 48 210, getsockname 51 204, getpeername 52 205, socketpair 53 199, getsockopt 55 209,
clone 56 220, exit 60 93, wait4 61 260, uname 63 160, fcntl 72 25, fsync 74 82,
fdatasync 75 83, ftruncate 77 46, getdents 78 -, getcwd 79 17, chdir 80 49, fchdir 81 50,
rename 82 -, mkdir 83 -, rmdir 84 -, creat 85 -, unlink 87 -, readlink 89 -, umask 95 166,
gettimeofday 96 169, getrlimit 97 163, getrusage 98 165, sysinfo 99 179, times 100 153,
getuid 102 174, getgid 104 176, geteuid 107 175, getegid 108 177, getppid 110 173, getpgrp 111 -,
getgroups 115 158, getresuid 118 148, getresgid 120 150, getpgid 121 155, getsid 124 156,
capget 125 90, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133,
sigaltstack 131 132, statfs 137 43, fstatfs 138 44, getpriority 140 141, sched_getparam 143 121,
sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126,
sched_rr_get_interval 148 127, prctl 157 167, arch_prctl 158 -, setrlimit 160 164,
gettid 186 178, readahead 187 213, getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10,
listxattr 194 11, llistxattr 195 12, flistxattr 196 13, time 201 -, futex 202 98,
sched_setaffinity 203 122, sched_getaffinity 204 123, epoll_create 213 -, getdents64 217 61,
set_tid_address 218 96, restart_syscall 219 128, fadvise64 221 223, timer_create 222 107,
timer_settime 223 110, timer_gettime 224 108, timer_getoverrun 225 109, timer_delete 226 111,
clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94,
epoll_wait 232 -, epoll_ctl 233 21, tgkill 234 131, get_mempolicy 239 236, waitid 247 95,
openat 257 56, mkdirat 258 34, newfstatat 262 79, unlinkat 263 35, renameat 264 38,
readlinkat 267 78, faccessat 269 48, pselect6 270 72, ppoll 271 73, unshare 272 97,
set_robust_list 273 99, epoll_pwait 281 22, signalfd 282 -, timerfd_create 283 85, eventfd 284 -,
fallocate 285 47, timerfd_settime 286 86, timerfd_gettime 287 87, signalfd4 289 74,
eventfd2 290 19, epoll_create1 291 20, dup3 292 24, pipe2 293 59, preadv 295 69, pwritev 296 70,
prlimit64 302 261, getcpu 309 168, sched_getattr 315 275, renameat2 316 276, seccomp 317 277,
getrandom 318 278, membarrier 324 283, copy_file_range 326 285, preadv2 327 286,
pwritev2 328 287, statx 332 291, rseq 334 293, clone3 435 435, close_range 436 436,
openat2 437 437, faccessat2 439 439, epoll_pwait2 441 441, landlock_create_ruleset 444 444,
landlock_add_rule 445 445, landlock_restrict_self 446 446, futex_waitv 449 449,
cachestat 451 451, futex_wake 454 454, futex_wait 455 455, futex_requeue 456 456, mseal 462 462
"""
_REFUSED = {
    # Listed for their numbers only.
    **dict.fromkeys(
        ("socket", "unshare", "seccomp", "landlock_create_ruleset", "landlock_add_rule",
         "landlock_restrict_self"),
        errno.EPERM,
    ),
    # Their arguments lie in memory, where a filter cannot look: glibc falls back to clone and
    # openat, whose arguments it can judge.
    "clone3": errno.ENOSYS,
    "openat2": errno.ENOSYS,
}  # fmt: skip


@dataclass(frozen=True)
class Word:
    """A demand on one argument of a call.

    Attributes:
        argument: Its position, from 0.
        values: What it may be, after the mask.
        mask: Which of the 32 bits count.
        high: Look at the upper half of the argument instead of the lower.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    high: bool = False


_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020080
_TRUNCATE, _ACCESS = 0x200, 0x3
# A file that is opened for reading and emptied by the same call: Landlock sees it from ABI 3 only.
_OPENS = tuple(m | t for t in (0, _TRUNCATE) for m in range(4) if m | t != _TRUNCATE)


def _conditions(pid: int) -> dict[str, tuple[Word, ...]]:
    return {
        "clone": (Word(0, (_CLONE_THREAD,), _CLONE_THREAD | _CLONE_NEW),),
        "open": (Word(1, _OPENS, _TRUNCATE | _ACCESS),),
        "openat": (Word(2, _OPENS, _TRUNCATE | _ACCESS),),
        # DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, OFD locks, DUPFD_CLOEXEC,
        # GETPIPE_SZ, GET_SEALS. SETOWN and SETSIG would send signals to other processes.
        "fcntl": (Word(1, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032, 1034)),),
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
        "ioctl": (Word(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),),
        # GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, CAPBSET_READ, GET_NO_NEW_PRIVS, SET_VMA
        "prctl": (Word(0, (3, 15, 16, 21, 23, 39, 0x53564D41)),),
        "prlimit64": (Word(0, (0,)),),
        "sched_setaffinity": (Word(0, (0,)),),
        # Stream sockets have one peer; a datagram socket could reach any name in the file system.
        "socketpair": (Word(0, (1,)), Word(1, (1,), 0xFFFFFFFF & ~0x80800)),
        "sendto": (Word(4, (0,)), Word(4, (0,), high=True)),
        "tgkill": (Word(0, (pid,)),),
    }


@cache
def libc() -> ctypes.CDLL:
    """Return the C library, loaded once; call it for its system calls."""
    return ctypes.CDLL(None, use_errno=True)


def supported() -> bool:
    """Whether the numbers of this machine's system calls are known."""
    return ctypes.sizeof(ctypes.c_void_p) == 8 and os.uname().machine in ARCHITECTURES


@cache
def numbers(machine: str) -> dict[str, int]:
    """Return the numbers of the system calls named here, by name.

    Args:
        machine: "x86_64" or "aarch64".
    """
    column = ARCHITECTURES[machine][1] + 1
    rows = [row.split() for row in _NUMBERS.replace("\n", " ").split(",")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def confining(pid: int, machine: str | None = None) -> bytes:
    """Return the program that confines a learner's process.

    Args:
        pid: The process, which may send signals to its own threads.
        machine: "x86_64" or "aarch64"; that of this machine by default.
    """
    machine = machine or os.uname().machine
    template, places = _template(machine)
    program = bytearray(template)
    for place in places:
        struct.pack_into("=I", program, place * 8 + 4, pid)
    return bytes(program)


def refusing(errors: Mapping[str, int], machine: str | None = None) -> bytes:
    """Return a program that lets all calls pass but some, which fail with an error number.

    Args:
        errors: The error number for each refused call, by name.
        machine: "x86_64" or "aarch64"; that of this machine by default.
    """
    machine = machine or os.uname().machine
    known = numbers(machine)
    actions = {known[name]: [_end(ERRNO | error)] for name, error in errors.items()}
    return _packed(_program(machine, actions, [_end(ALLOW)], [_end(ALLOW)]))


def install(program: bytes) -> None:
    """Put this process, with all of its threads, under a program, for good.

    Raises:
        OSError: When the kernel refuses it, for example because no_new_privs is not set.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    number = numbers(os.uname().machine)["seccomp"]
    words = (ctypes.c_long(number), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_TSYNC))
    result = libc().syscall(*words, ctypes.c_char_p(head))
    if result:
        code = ctypes.get_errno() if result < 0 else errno.EBUSY  # a thread that cannot follow
        raise OSError(code, os.strerror(code))


_PLACEHOLDER = 0x7FABCDEF  # above any pid


@cache
def _template(machine: str) -> tuple[bytes, list[int]]:
    """Return the confining program for `_PLACEHOLDER`, and which instructions compare with it."""
    conditions = _conditions(_PLACEHOLDER)
    refused = [_end(ERRNO | errno.EPERM)]
    actions = {}
    for name, number in numbers(machine).items():
        if name in _REFUSED:
            actions[number] = [_end(ERRNO | _REFUSED[name])]
        else:
            actions[number] = _demand(conditions.get(name, ()))
    program = _program(machine, actions, refused, [_end(ERRNO | errno.ENOSYS)])
    places = [
        i for i, (code, _, _, k) in enumerate(program) if (code, k) == (_IF_EQUAL, _PLACEHOLDER)
    ]
    return _packed(program), places


def _end(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _demand(words: tuple[Word, ...]) -> list[Instruction]:
    """Allow a call whose arguments are as demanded; refuse it otherwise."""
    if not words:
        return [_end(ALLOW)]
    block = [_end(ALLOW), _end(ERRNO | errno.EPERM)]
    for word in reversed(words):
        head: list[Instruction] = [(_LOAD, 0, 0, 16 + 8 * word.argument + 4 * word.high)]
        if word.mask != 0xFFFFFFFF:
            head.append((_AND, 0, 0, word.mask))
        last = len(word.values) - 1
        for i, value in enumerate(word.values):
            head.append((_IF_EQUAL, last - i, len(block) - 1 if i == last else 0, value))
        block = head + block
    return block


def _program(
    machine: str,
    actions: dict[int, list[Instruction]],
    others: list[Instruction],
    newer: list[Instruction],
) -> list[Instruction]:
    """Check the architecture, then find the block of the call's number by bisection."""
    starts: list[tuple[int, list[Instruction]]] = []
    for number in range(NEWEST + 2):
        block = newer if number > NEWEST else actions.get(number, others)
        if not starts or starts[-1][1] != block:
            starts.append((number, block))
    head = [(_LOAD, 0, 0, 4), (_IF_EQUAL, 1, 0, ARCHITECTURES[machine][0]), _end(KILL)]
    return [*head, (_LOAD, 0, 0, 0), *_bisected(starts)]


def _bisected(starts: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    if len(starts) == 1:
        return starts[0][1]
    middle = len(starts) // 2
    below, above = _bisected(starts[:middle]), _bisected(starts[middle:])
    number = starts[middle][0]
    if len(below) > 255:  # farther than a conditional jump reaches
        return [(_IF_AT_LEAST, 0, 1, number), (_JUMP, 0, 0, len(below)), *below, *above]
    return [(_IF_AT_LEAST, len(below), 0, number), *below, *above]


def _packed(program: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
