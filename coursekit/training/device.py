"""Where to compute, how to make a run repeatable, and what is wrong with this machine.

torch is imported inside the functions: ``diagnose`` must be able to say that it is missing.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import random
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["best_device", "diagnose", "seed_everything"]

GIB = 2**30
PYTHON_VERSIONS = ((3, 11), (3, 13))
MEMORY_NEEDED = 4 * GIB
DISK_NEEDED = 2 * GIB

INSTALL = 'make setup, or python -m pip install -c constraints.txt -e ".[book,data,dev]"'


def best_device() -> torch.device:
    """Return the fastest device of this machine: CUDA, then Apple's MPS, then the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def seed_everything(seed: int, deterministic: bool = True) -> None:
    """Seed Python, NumPy and torch on every device.

    Args:
        seed: a whole number from 0 to 2**32 - 1.
        deterministic: also choose kernels that give the same bits on every run; an operation that
            has none warns.

    Raises:
        ValueError: if the seed is out of range.
    """
    import numpy as np
    import torch

    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be from 0 to 2**32 - 1, got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from the global generator
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by cuBLAS
    torch.backends.cudnn.benchmark = not deterministic
    # the same flag as use_deterministic_algorithms, which loads the compiler: seconds for nothing
    torch.set_deterministic_debug_mode("warn" if deterministic else "default")


def diagnose() -> list[dict]:
    """Look at what the course needs of this machine.

    Returns:
        One row for each of Python, torch, device, memory, disk and kernel, with the keys
        ``what``, ``found``, ``ok`` and ``fix`` (empty when ok).
    """
    checks = (
        ("python", _python),
        ("torch", _torch),
        ("device", _device),
        ("memory", _memory),
        ("disk", _disk),
        ("kernel", _kernel),
    )
    rows = []
    for what, look in checks:
        found, fix = look()
        rows.append({"what": what, "found": found, "ok": not fix, "fix": fix})
    return rows


def _python() -> tuple[str, str]:
    oldest, newest = PYTHON_VERSIONS
    if oldest <= sys.version_info[:2] <= newest:
        return platform.python_version(), ""
    return platform.python_version(), "install Python 3.11, 3.12 or 3.13 and run make book again"


def _torch() -> tuple[str, str]:
    if importlib.util.find_spec("torch") is None:
        return "missing", INSTALL
    version = metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 9):
        return version, INSTALL
    return version, ""


def _device() -> tuple[str, str]:
    if importlib.util.find_spec("torch") is None:
        return "unknown", "install torch first"
    import torch

    device = best_device()
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})", ""
    return f"{device.type}, {torch.get_num_threads()} threads", ""


def _memory() -> tuple[str, str]:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown", ""  # Windows: the standard library does not say
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    fix = "" if size >= MEMORY_NEEDED else "run one chapter at a time: coursekit book --jobs 1"
    return f"{size / GIB:.1f} GiB", fix


def _disk() -> tuple[str, str]:
    free = shutil.disk_usage(Path.cwd()).free
    fix = "" if free >= DISK_NEEDED else "free 2 GiB on this disk"
    return f"{free / GIB:.1f} GiB free", fix


def _kernel() -> tuple[str, str]:
    reinstall = "python -m ipykernel install --sys-prefix --name python3"
    if importlib.util.find_spec("jupyter_client") is None:
        return "jupyter is missing", INSTALL
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return "no kernel named python3", reinstall
    if os.path.isabs(command) and not Path(command).exists():
        return f"python3 points to {command}, which does not exist", reinstall
    return f"python3 ({command})", ""
