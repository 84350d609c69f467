"""What the tests of forked processes share: a kernel with its client, and a look at servers."""

import contextlib
import os
import time
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory

from coursekit.kernels.forkserver import available

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FORKED, STARTED = "coursekit-forked", "local-provisioner"

needs_fork = pytest.mark.skipif(bool(available()), reason=available() or "can fork")


def wait_until(condition, seconds=20.0):
    """Wait until a condition holds; say whether it does."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def servers(folder):
    """List the fork servers whose sockets lie in a folder, without what they forked."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any("coursekit.kernels.server" in word for word in process.cmdline()):
                found[process.pid] = process, process.cmdline()[-1], process.ppid()
    return [
        process
        for process, settings, parent in found.values()
        if str(folder) in settings and parent not in found
    ]


def environment(**changes):
    """Return an environment in which kernels find the checkout's package, and no test's traces."""
    path = os.pathsep.join([str(ROOT), str(HERE)])
    left_out = ("OMP_", "MPLBACKEND", "PYTEST_", "COURSEKIT_")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return {**plain, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **changes}


def end(processes):
    """End processes and wait for that."""
    for process in processes:
        if psutil.pid_exists(process.pid):
            process.kill()
    psutil.wait_procs(processes, timeout=20)


class Kernel:
    """A kernel and a client of it."""

    def __init__(self, provisioner, **options):
        KernelProvisionerFactory.instance().default_provisioner_name = provisioner
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(extra_arguments=["--Application.log_level=40"], **options)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    @property
    def pid(self):
        return self.manager.provisioner.pid

    def run(self, code, **options):
        """Run a cell; return what it printed, displayed and raised, one after the other."""
        texts = []

        def receive(message):
            content = message["content"]
            if message["msg_type"] == "stream":
                texts.append(content["text"])
            elif message["msg_type"] == "error":
                texts.append(f"{content['ename']}: {content['evalue']}")
            elif "data" in content:
                texts.append(content["data"].get("image/png") or content["data"]["text/plain"])

        self.client.execute_interactive(
            code, output_hook=receive, allow_stdin="stdin_hook" in options, timeout=60, **options
        )
        return "".join(texts)

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.context.destroy(linger=0)
