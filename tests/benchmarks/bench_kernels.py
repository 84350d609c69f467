"""How long a kernel takes to answer ``import torch``: started as usual, and forked.

Run it on an idle machine: ``python tests/benchmarks/bench_kernels.py``. Both kinds take turns, each
with a new kernel; the first of each kind is not counted, because it fills caches and starts the
server. The time runs from `start_kernel` until the result has been received, with the client's own
`wait_for_ready` in between, as nbclient and nbval do it.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory

RUNS = 20
CELL = "import torch; torch.ones(3).sum().item()"


def seconds_to_result(provisioner: str) -> float:
    """Start a kernel, run the cell, and end the kernel.

    Args:
        provisioner: Name of the provisioner.

    Returns:
        Seconds until the result was there.
    """
    KernelProvisionerFactory.instance().default_provisioner_name = provisioner
    manager = KernelManager(kernel_name="python3")
    results: list[str] = []

    def receive(message: dict) -> None:
        if message["msg_type"] == "execute_result":
            results.append(message["content"]["data"]["text/plain"])

    start = time.perf_counter()
    manager.start_kernel(extra_arguments=["--Application.log_level=40"])
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    client.execute_interactive(CELL, allow_stdin=False, output_hook=receive, timeout=120)
    seconds = time.perf_counter() - start
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    if results != ["3.0"]:
        raise SystemExit(f"the cell gave {results}")
    return seconds


def main() -> None:
    """Print both medians and their ratio."""
    names = {"normal": "local-provisioner", "forked": "coursekit-forked"}
    for name in names.values():
        seconds_to_result(name)
    times: dict[str, list[float]] = {kind: [] for kind in names}
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS):
        for kind, name in names.items():
            times[kind].append(seconds_to_result(name))
    for kind, seconds in times.items():
        low, high = min(seconds), max(seconds)
        median = statistics.median(seconds)
        print(f"{kind}: median {median:.3f} s of {len(seconds)}, {low:.3f} to {high:.3f}")
    ratio = statistics.median(times["normal"]) / statistics.median(times["forked"])
    print(f"normal / forked: {ratio:.1f}; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
