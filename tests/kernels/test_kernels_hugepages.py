"""Memory in huge pages: the same bytes, and children that copy what they write."""

import os
import sys

import numpy as np
import pytest

from coursekit.kernels import hugepages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux")


def in_child(work) -> bytes:
    """Return what a forked child of a forked child returns; hugepages stay away from this one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def test_the_bytes_stay_and_a_child_writes_to_its_own():
    def work() -> bytes:
        numbers = np.arange(4 << 20)  # 32 MiB
        hugepages.collapse()

        def spoil() -> bytes:
            numbers[:] = 7
            return b"spoiled" if (numbers == 7).all() else b""

        spoiled = in_child(spoil)
        return spoiled + (b" whole" if (numbers == np.arange(4 << 20)).all() else b"")

    assert in_child(work) == b"spoiled whole"


def test_what_was_gathered_is_counted_as_the_kernel_counts_it():
    def work() -> bytes:
        numbers = np.ones(8 << 20)  # 64 MiB
        gathered = hugepages.collapse()
        with open("/proc/self/smaps_rollup") as rollup:
            huge = next(int(line.split()[1]) for line in rollup if line.startswith("AnonHuge"))
        return f"{gathered} {huge * 1024} {numbers.sum()}".encode()

    gathered, huge, _ = map(float, in_child(work).split())
    if gathered == 0:
        pytest.skip("this kernel gathers no pages on request (Linux 6.1 does)")
    assert gathered >= 48 << 20
    assert huge >= gathered * 0.9


def test_mappings_are_read_from_the_kernels_list():
    maps = (
        "55d0c0000000-55d0c0400000 rw-p 00000000 00:00 0                          [heap]\n"
        "7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \n"
        "7f1000000000-7f1000200000 r--p 00000000 00:00 0 \n"
        "7f2000000000-7f2000200000 rw-p 00001000 fd:00 77  /usr/lib/x.so\n"
        "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n"
    )
    assert hugepages._mappings(maps) == [
        (0x55D0C0000000, 0x55D0C0400000),
        (0x7F0000000000, 0x7F0000200000),
    ]
