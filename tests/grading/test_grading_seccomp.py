"""The filter of system calls, judged by an interpreter of its own, for both architectures."""

import errno
import re
import struct
from pathlib import Path

import pytest

from coursekit.grading.official import seccomp
from coursekit.grading.official.seccomp import ALLOW, ERRNO, KILL, NEWEST

PID = 4711
X86, ARM = 0xC000003E, 0xC00000B7
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
MACHINES = sorted(HEADERS)
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


def judged(program, architecture, number, *arguments):
    """Return what a program says of a call; an interpreter of classic BPF as in bpf(4)."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    at, a = 0, 0
    while True:
        code, yes, no, k = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            (a,) = struct.unpack_from("=I", data, k)
        elif code == 0x54:
            a &= k
        elif code == 0x15:
            at += yes if a == k else no
        elif code == 0x35:
            at += yes if a >= k else no
        elif code == 0x05:
            at += k
        else:
            assert code == 0x06
            return k


@pytest.fixture(params=MACHINES)
def judge(request):
    """Judge calls by name on one machine."""
    program = seccomp.confining(PID, request.param)
    architecture = seccomp.ARCHITECTURES[request.param][0]

    def by_name(name, *arguments):
        number = seccomp.numbers(request.param)[name]
        return judged(program, architecture, number, *arguments)

    by_name.program, by_name.architecture = program, architecture
    by_name.numbers = seccomp.numbers(request.param)
    return by_name


def test_a_call_that_is_not_listed_is_refused(judge):
    listed = set(judge.numbers.values())
    others = set(range(NEWEST + 1)) - listed
    assert len(others) > 200
    for number in others:
        assert judged(judge.program, judge.architecture, number) == EPERM


def test_a_call_newer_than_the_newest_known_looks_absent(judge):
    for number in (NEWEST + 1, 1000, 0x7FFFFFFF, 0xFFFFFFFF):
        assert judged(judge.program, judge.architecture, number) == ENOSYS


def test_x32_calls_look_absent():
    program = seccomp.confining(PID, "x86_64")
    for number in (0, 1, 41, 59, 512, 547):
        assert judged(program, X86, 0x40000000 | number) == ENOSYS


@pytest.mark.parametrize("architecture", [0x40000003, 0x40000028, 0x8000003E, 0])
def test_a_call_through_another_architecture_kills(judge, architecture):
    assert judged(judge.program, architecture, 0) == KILL
    other = ARM if judge.architecture == X86 else X86
    assert judged(judge.program, other, 0) == KILL


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("clone", [(0x3D0F00,), (0x10000 | 1 << 40,)], [(17,), (0,), (0x10000000,), (0x10020000,)]),
        ("tgkill", [(PID, 1, 6)], [(PID + 1, 1, 6), (1, 1, 9), (0, 1, 9)]),
        ("prlimit64", [(0, 7)], [(PID, 7), (1, 7)]),
        ("sched_setaffinity", [(0,)], [(PID,), (1,)]),
        ("socketpair", [(1, 1), (1, 0x80801)], [(1, 2), (1, 5), (2, 1), (16, 3), (1, 0x80002)]),
        ("sendto", [(3, 9, 1, 0, 0, 0)], [(3, 9, 1, 0, 8, 16), (3, 9, 1, 0, 1 << 40, 16)]),
        ("fcntl", [(3, 1), (3, 4), (3, 1030)], [(3, 8), (3, 10), (3, 15), (3, 1024), (3, 1026)]),
        ("ioctl", [(1, 0x5401), (1, 0x5413)], [(0, 0x5412), (0, 0x8901), (0, 0x8902), (0, 0x5452)]),
        ("prctl", [(15,), (16,)], [(1,), (4,), (22,), (35,), (36,), (0x59616D61,)]),
        ("openat", [(0, 0, 0), (0, 0, 0x241), (0, 0, 0x202)], [(0, 0, 0x200), (0, 0, 0x80200)]),
    ],
)
def test_a_call_is_judged_by_its_arguments(judge, name, allowed, refused):
    assert {judge(name, *arguments) for arguments in allowed} == {ALLOW}
    assert {judge(name, *arguments) for arguments in refused} == {EPERM}


@pytest.mark.parametrize("name", ["clone3", "openat2"])
def test_a_call_whose_arguments_cannot_be_seen_looks_absent(judge, name):
    assert judge(name) == ENOSYS


@pytest.mark.parametrize(
    "name", ["read", "mmap", "futex", "newfstatat", "sendmsg", "recvmsg", "exit_group"]
)
def test_what_computing_needs_is_allowed(judge, name):
    assert judge(name) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernel(machine):
    if not HEADERS[machine].is_file():
        pytest.skip(f"{HEADERS[machine]} is not installed")
    pattern = r"^#define __NR(?:3264)?_(\w+) (\d+)$"
    kernel = {m[1]: int(m[2]) for m in re.finditer(pattern, HEADERS[machine].read_text(), re.M)}
    kernel.setdefault("newfstatat", kernel.get("fstatat", -1))
    for name, number in seccomp.numbers(machine).items():
        if name in kernel or number <= 440:
            assert kernel[name] == number, name


@pytest.mark.parametrize("machine", MACHINES)
def test_refusing_some_calls_lets_all_others_pass(machine):
    program = seccomp.refusing({"unshare": errno.ENOSPC, "socket": errno.EACCES}, machine)
    architecture, numbers = seccomp.ARCHITECTURES[machine][0], seccomp.numbers(machine)
    assert judged(program, architecture, numbers["unshare"]) == ERRNO | errno.ENOSPC
    assert judged(program, architecture, numbers["socket"]) == ERRNO | errno.EACCES
    others = set(range(600)) - {numbers["unshare"], numbers["socket"]}
    assert {judged(program, architecture, number) for number in others} == {ALLOW}
