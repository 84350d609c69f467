"""Jupyter kernels that are forked from a warm server instead of started.

Jupyter's clients find the provisioner under the name ``coursekit-forked``; with the environment
variable ``JUPYTER_DEFAULT_PROVISIONER_NAME=coursekit-forked`` nbclient, nbval, nbgrader and
JupyterLab use it as they are. Where a kernel cannot be forked it is started as usual, and the
reason is said once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from coursekit.kernels.forkserver import Forked, ForkServer, available
from coursekit.kernels.places import NoForkServer
from coursekit.kernels.shared import IDLE

TARGET = "coursekit.kernels.launched:run"
READY_SECONDS = 30.0
END_SECONDS = 2.0
UMASK = 0o022
UNKNOWN = 1  # exit code when the server died before it could tell
STREAMS = {"stdin", "stdout", "stderr"}
UNDERSTOOD = {"cwd", "env", "extra_arguments", "independent", "kernel_id"} | STREAMS
OPTION = re.compile(r"-(I|E|s|S|P|O|OO|B|d|v|q|b|bb|u|R|x|X.+|W.+)$")

_said: set[str] = set()
_failed: dict[str, str] = {}  # why a server could not start, by its address


class Unfit(Exception):
    """A kernel that has to be started; the message says why, an empty one that nobody need know."""


class ForkedProcess:
    """A forked kernel with the methods of `subprocess.Popen` that Jupyter calls.

    Args:
        forked: The process.
        streams: The reader of each stream that was asked for as a pipe.

    Attributes:
        pid: Its number.
        returncode: Its exit code, None while it runs.
    """

    def __init__(self, forked: Forked, streams: dict[str, Any]) -> None:
        self.forked = forked
        self.pid = forked.pid
        self.returncode: int | None = None
        self.stdin = None
        self.stdout = streams.get("stdout")
        self.stderr = streams.get("stderr")

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self.returncode if self.forked.alive() else self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code, 1 if the server died without telling it.

        Args:
            timeout: Seconds.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        if self.returncode is None:
            if not self.forked.wait(timeout):
                raise subprocess.TimeoutExpired([TARGET], timeout or 0.0)
            code = self.forked.exit_code()
            self.returncode = UNKNOWN if code is None else code
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel and all that it started."""
        self.forked.send_signal(number, group=True)

    def kill(self) -> None:
        """End the kernel and all that it started."""
        self.forked.kill()


class ForkedProvisioner(LocalProvisioner):
    """Forks kernels of this interpreter; starts all others."""

    process: Any  # a ForkedProcess, a Popen of a kernel that was started, or None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel and wait until it can be connected to, or start it.

        Args:
            cmd: The command of the kernel's specification.
            **kwargs: What `subprocess.Popen` takes.
        """
        try:
            self.process = await asyncio.to_thread(fork_kernel, cmd, kwargs)
        except (Unfit, NoForkServer) as reason:
            self._say(str(reason))
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and all that it started."""
        if isinstance(self.process, ForkedProcess):
            self.process.send_signal(signum)
        else:
            await super().send_signal(signum)

    async def kill(self, restart: bool = False) -> None:
        """End the kernel at once, with all that it started."""
        if not isinstance(self.process, ForkedProcess):
            await super().kill(restart)
            return
        self.process.kill()
        await asyncio.to_thread(self.process.forked.wait, END_SECONDS)

    async def wait(self) -> int | None:
        """Wait for the kernel's end."""
        if not isinstance(self.process, ForkedProcess):
            return await super().wait()
        process = self.process
        code = await asyncio.to_thread(process.wait)
        process.forked.close()
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()
        self.process = None
        return code

    def _say(self, reason: str) -> None:
        """Say in one line why kernels are started, once for each reason."""
        if not reason or reason in _said:
            return
        _said.add(reason)
        line = f"this kernel is started, not forked: {reason}"
        heard = [h for h in self.log.handlers if not isinstance(h, logging.NullHandler)]
        if heard or (self.log.parent and self.log.propagate and logging.root.handlers):
            self.log.warning(line)
        else:
            print(f"coursekit: {line}", file=sys.stderr)


def fork_kernel(cmd: Sequence[str], kwargs: dict[str, Any]) -> ForkedProcess:
    """Fork a kernel.

    Args:
        cmd: The command that would start it.
        kwargs: What `jupyter_client.launcher.launch_kernel` takes.

    Raises:
        Unfit: It has to be started.
        NoForkServer: No server could fork it.
    """
    if reason := available():
        raise Unfit(reason)
    options, arguments = read_command(cmd)
    if unknown := sorted(kwargs.keys() - UNDERSTOOD):
        raise Unfit(f"{', '.join(unknown)} can only be given to a new process")
    folder = os.path.abspath(kwargs.get("cwd") or os.getcwd())
    if not os.path.isdir(folder):
        raise Unfit(f"there is no folder {folder}")
    env = {str(name): str(value) for name, value in (kwargs.get("env") or os.environ).items()}
    bound = not kwargs.get("independent", False)
    if env.get(IDLE, "").strip() == "0":
        raise Unfit("")  # as the user wishes: there is nothing to say
    if bound:
        env["JPY_PARENT_PID"] = str(os.getpid())
    server = ForkServer.shared(env, options)
    if server.address in _failed:
        raise NoForkServer(_failed[server.address])
    with ExitStack() as opened, ExitStack() as kept:
        stdio, readers = _streams(kwargs, opened, kept)
        told, ready = os.pipe()
        opened.callback(os.close, told)
        client = os.pidfd_open(os.getpid())
        opened.callback(os.close, client)
        try:
            forked = server.fork(
                TARGET,
                {"arguments": arguments, "bound": bound},
                fds=(ready, client),
                cwd=folder,
                stdio=stdio,
                umask=_umask(),
            )
        except NoForkServer as error:
            _failed[server.address] = str(error)
            raise
        finally:
            os.close(ready)
        select.select([told], [], [], READY_SECONDS)  # also ends when the kernel does
        kept.pop_all()
    return ForkedProcess(forked, readers)


def read_command(cmd: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the command of a kernel into options of the interpreter and arguments of the kernel.

    Args:
        cmd: The command.

    Raises:
        Unfit: It does not start IPython's kernel with this interpreter.
    """
    words = [os.path.expanduser(word) for word in cmd]
    if not words or not _same_program(words[0], sys.executable):
        raise Unfit(f"its interpreter is {words[0] if words else ''!r}, not {sys.executable!r}")
    start = words.index("-m") if "-m" in words else len(words)
    options, module, arguments = words[1:start], words[start + 1 : start + 2], words[start + 2 :]
    if module not in (["ipykernel_launcher"], ["ipykernel"]):
        raise Unfit("its command is not that of IPython's kernel")
    if odd := [option for option in options if not OPTION.match(option)]:
        raise Unfit(f"the interpreter's option {odd[0]!r} is not known")
    return options, arguments


def _same_program(one: str, other: str) -> bool:
    """Say whether two paths are the same file in the same folder: links tell environments apart."""
    folders = [os.path.realpath(os.path.dirname(path)) for path in (one, other)]
    return folders[0] == folders[1] and os.path.realpath(one) == os.path.realpath(other)


def _umask() -> int:
    """Read this process's umask without a moment in which it is another."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^Umask:\s*(\d+)", status, re.MULTILINE)
    return int(found[1], 8) if found else UMASK


def _streams(
    kwargs: dict[str, Any], opened: ExitStack, kept: ExitStack
) -> tuple[list[int], dict[str, Any]]:
    """Open what the kernel's 0, 1 and 2 are to be.

    Args:
        kwargs: What was asked for, as `subprocess.Popen` takes it.
        opened: Closes what only the kernel needs.
        kept: Closes the readers.

    Returns:
        Three descriptors, and a reader for each stream that was asked for as a pipe.
    """
    null = os.open(os.devnull, os.O_RDWR)
    opened.callback(os.close, null)
    stdio, readers = [null], {}
    asked = kwargs.get("stdin")
    if asked not in (None, subprocess.PIPE, subprocess.DEVNULL):
        stdio[0] = _number(asked)
    for number, name in enumerate(("stdout", "stderr"), 1):
        asked = kwargs.get(name)
        if asked is None:
            stdio.append(number if _is_open(number) else null)
        elif asked == subprocess.DEVNULL:
            stdio.append(null)
        elif asked == subprocess.STDOUT:
            stdio.append(stdio[1])
        elif asked == subprocess.PIPE:
            reader, writer = os.pipe()
            opened.callback(os.close, writer)
            readers[name] = kept.enter_context(os.fdopen(reader, "rb"))
            stdio.append(writer)
        else:
            stdio.append(_number(asked))
    return stdio, readers


def _number(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
