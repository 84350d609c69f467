"""What tests of several rooms share."""

import os
import signal

import pytest

# Two workers, each with a thread for every processor, take three times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Servers of kernels that tests start end soon after them; seconds.
os.environ.setdefault("COURSEKIT_KERNEL_SERVER_IDLE", "20")


class TwoProcesses:
    """A run of two processes, of which the other one has read what it is given."""

    def __init__(self, *other):
        self.other = other

    def sum(self, *own):
        return [a + b for a, b in zip(own, self.other, strict=True)]


@pytest.fixture
def two_processes():
    """Give the class of a run whose other process adds fixed numbers."""
    return TwoProcesses


@pytest.fixture
def interruptible():
    """Heed signals that a process which a shell started in the background ignores."""
    ignored = [s for s in (signal.SIGHUP, signal.SIGQUIT) if signal.getsignal(s) == signal.SIG_IGN]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in ignored:
        signal.signal(each, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
    for each in ignored:
        signal.signal(each, signal.SIG_IGN)
