"""The same checks in both worlds: in the learner's own process, and from another one."""

import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from coursekit.grading import check
from coursekit.grading.cells import defined, inputs_of
from coursekit.grading.official.learner import cell_name, compiled, remember, serve
from coursekit.grading.official.remote import Proxy, RemoteBackend
from coursekit.grading.official.wire import Channel

SETUP = {"__name__": "__main__", "np": np, "torch": torch, "Tensor": torch.Tensor}


@dataclass
class Shown:
    """What a check cell showed: points, messages and what an observer saw."""

    earned: float
    messages: list[str]
    explanations: list[str]
    observed: list[tuple]


@contextmanager
def child(run: Callable[[socket.socket], None]) -> Iterator[tuple[socket.socket, int]]:
    """Fork a process that has the other end of a socket; it is gone when the block ends."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            faulthandler.disable()
            nowhere = open(os.devnull, "r+")  # noqa: SIM115
            for descriptor in (0, 1, 2):
                os.dup2(nowhere.fileno(), descriptor)
            sys.stdin = sys.stdout = sys.stderr = nowhere
            torch.set_num_threads(1)
            run(theirs)
        finally:
            os._exit(0)
    theirs.close()
    try:
        yield ours, pid
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def learner(source: str = "", seconds: float = 20.0, **setup: Any) -> Iterator[RemoteBackend]:
    """Serve a learner's cell in a process of its own."""
    namespace = {**SETUP, **setup}
    with child(lambda sock: serve(Channel(sock), namespace)) as (sock, _):
        backend = RemoteBackend(Channel(sock), seconds)
        assert backend.run_cell("answer", source) is None
        yield backend


def locally(source: str, checks: Callable[[dict[str, Any]], None], hidden: bool = False) -> Shown:
    """Run checks on the names of a cell in this process."""
    namespace = dict(SETUP)
    name = cell_name("answer")
    remember(name, source)
    exec(compiled(source, name), namespace)
    return _shown(lambda: checks({n: namespace[n] for n in defined(source)}), None, hidden)


def remotely(source: str, checks: Callable[[dict[str, Any]], None], hidden: bool = False) -> Shown:
    """Run checks on the names of a cell that lives in another process."""
    inputs = inputs_of(source)
    names = {name: Proxy(name, inputs.get(name, ())) for name in defined(source)}
    with learner(source) as backend:
        return _shown(lambda: checks(names), backend, hidden)


def agree(source: str, checks: Callable[[dict[str, Any]], None], hidden: bool = False) -> Shown:
    """Run checks in both worlds, demand that both show the same and return it."""
    here, there = locally(source, checks, hidden), remotely(source, checks, hidden)
    assert here == there
    return here


def _shown(run: Callable[[], None], backend: RemoteBackend | None, hidden: bool) -> Shown:
    session = check.reset()
    session.show = lambda message: None
    observed: list[tuple] = []
    session.observer = lambda *event: observed.append(event)
    if backend is not None:
        session.backend = backend
    check.task("sample", points=12, hidden=hidden)
    run()
    check.points()
    (result,) = session.results
    check.reset()
    return Shown(result.earned, result.messages, result.explanations, observed)
