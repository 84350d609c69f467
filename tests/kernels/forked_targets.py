"""What the tests let forked processes do; each answers through its first descriptor."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time


def answer(fds, value):
    os.write(fds[0], json.dumps(value).encode())
    os.close(fds[0])


def echo(argument, fds):
    answer(fds, argument)


def number(argument, fds):
    return argument


def fail(argument, fds):
    raise ValueError(argument)


def leave(argument, fds):
    sys.exit(argument)


def describe(argument, fds):
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    seen = getenv(b"GREETING")
    answer(
        fds,
        {
            "environ": dict(os.environ),
            "seen by C": seen.decode() if seen else None,
            "cwd": os.getcwd(),
            "umask": os.umask(0o22),
            "leads": os.getsid(0) == os.getpid() == os.getpgrp(),
            "threads": len(os.listdir("/proc/self/task")),
            "files": sorted(map(int, set(os.listdir("/proc/self/fd")) - {str(_listing())})),
            "stdio": [os.readlink(f"/proc/self/fd/{number}") for number in range(3)],
            "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
            "terminate": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        },
    )


def _listing():
    """Return the number that a newly opened file gets, as the listing of the files does."""
    file = os.open(os.devnull, os.O_RDONLY)
    os.close(file)
    return file


def draws(argument, fds):
    import random

    import numpy as np

    answer(fds, [random.random(), float(np.random.rand())])  # noqa: NPY002 — the generator meant


def sleep(argument, fds):
    answer(fds, os.getpid())
    time.sleep(argument)


def start_sleeper(argument, fds):
    answer(fds, subprocess.Popen(["sleep", str(argument)]).pid)
    time.sleep(argument)


def in_thread(argument, fds):
    thread = threading.Thread(target=answer, args=(fds, "from a thread"))
    thread.start()
    thread.join()


def constant(argument, fds):
    import changing

    answer(fds, changing.VALUE)
