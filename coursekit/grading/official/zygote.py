"""The process from which learners' processes are forked: it knows what learners may know.

It runs the exercise's released setup cells once, inside of namespaces of its own, and then forks a
confined process for each request, so that a submission starts in milliseconds. It holds no answer,
no hidden test and no other submission. Requests come from the examiner over one socket:

    {"do": "import", "modules": [name, …]}           import what the solution's checks needed
    {"do": "settle"}                                 get ready to fork
    {"do": "start"} with one end of a socket pair    fork a learner's process that serves it
    {"do": "end"}                                    kill every learner's process and reap it
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coursekit.grading.official import learner, sandbox
from coursekit.grading.official.wire import Channel
from coursekit.kernels import hugepages

MOST = 1 << 16


def serve(argument: dict[str, Any], fds: Sequence[int]) -> None:
    """Run the setup cells, then fork until the examiner is gone; called in the fork server's child.

    Args:
        argument: `cells`, pairs of id and text; `without`, names of protections to leave out;
            `memory`, bytes; `seconds`, processor time of one learner's process; `scratch`, the
            folder in which each gets one of its own.
        fds: One: the socket to the examiner.
    """
    with socket.socket(fileno=fds[0]) as control:
        zygote = _Zygote(control, argument)
        try:
            zygote.prepare(argument["cells"])
        except BaseException as error:
            _reply(control, {"ready": False, "reason": _described(error)})
            return
        _reply(control, {"ready": True})
        zygote.run()


def _reply(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


def _described(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"


class _Zygote:
    """The state of this process: the namespace, and the learners' processes that run."""

    def __init__(self, control: socket.socket, argument: dict[str, Any]):
        self.control = control
        self.without: list[str] = argument["without"]
        self.limits = sandbox.Limits(
            memory=argument["memory"], processor_seconds=argument["seconds"]
        )
        self.scratch: str = argument["scratch"]
        self.readable = sandbox.readable_paths()
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.running: dict[int, str] = {}

    def prepare(self, cells: list[list[str]]) -> None:
        """Enter the namespaces and run the setup cells."""
        if "namespaces" not in self.without:
            sandbox.enter_namespaces()
        for name, source in cells:
            file = learner.cell_name(name)
            learner.remember(file, source)
            exec(learner.compiled(source, file), self.namespace)

    def run(self) -> None:
        """Serve requests until the examiner closes its end."""
        try:
            while True:
                data, given, _, _ = socket.recv_fds(self.control, MOST, 1)
                if not data:
                    return
                request = json.loads(data)
                if request["do"] == "start":
                    self.start(given[0])
                    continue
                if request["do"] == "import":
                    import_all(request["modules"])
                elif request["do"] == "settle":
                    settle()
                else:
                    self.end()
                _reply(self.control, {"done": True})
        finally:
            self.end()

    def start(self, given: int) -> None:
        """Fork a learner's process that serves a socket."""
        scratch = tempfile.mkdtemp(prefix="learner-", dir=self.scratch)
        child = os.fork()
        if child == 0:
            self._become_learner(given, scratch)
        os.close(given)
        self.running[child] = scratch

    def _become_learner(self, given: int, scratch: str) -> None:
        """Confine this process and serve; never returns."""
        code = 1
        try:
            self.control.close()
            sandbox.confine(self.readable, scratch, self.limits, self.without, keep=[given])
            learner.serve(Channel(socket.socket(fileno=given)), self.namespace)
            code = 0
        finally:
            os._exit(code)

    def end(self) -> None:
        """Kill and reap every learner's process, and remove what they wrote."""
        for child, scratch in self.running.items():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            remove(scratch)
        self.running.clear()


def import_all(modules: list[str]) -> None:
    """Import modules once for all learners; what cannot be imported alone is left to them."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"not warm: {name}: {type(error).__name__}: {error}", file=sys.stderr)


def settle() -> None:
    """Make forks quick: everything used once, nothing to collect, memory in huge pages."""
    warm_up()
    gc.collect()
    gc.freeze()
    hugepages.collapse()


def warm_up() -> None:
    """Take torch's and the protocol's first steps here, where they are taken once for all."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        asking, x = Channel(ours), torch.ones(2, 2)
        asking.send({"do": "cell", "id": "first", "source": "import math"})
        asking.send({"do": "call", "after": False}, [("name", "first"), x])
        asking.send({"do": "gradient", "wrt": [0]}, [("name", "first"), [x], x])
        ours.shutdown(socket.SHUT_WR)
        learner.serve(Channel(theirs), {"first": _first_steps})


def _first_steps(x: Tensor) -> Tensor:
    layer = torch.nn.Linear(2, 2)
    return torch.softmax(layer(x), dim=1).exp().clamp(min=0).sum(dim=1, keepdim=True) + x


def remove(folder: str) -> None:
    """Remove a folder that a stranger has filled, however deep and whatever its permissions."""
    try:
        os.rmdir(folder)
    except OSError:
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run(
                [*command, "--", folder],
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        if Path(folder).exists():
            raise OSError(f"{folder} cannot be removed") from None
