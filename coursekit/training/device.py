"""Where to compute, how to make a run repeatable, and what is wrong with this machine.

torch is imported inside the functions: ``diagnose`` must be able to say that it is missing.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import random
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        One row for each of python, torch, device, driver, precision, memory, disk and kernels, with
        the keys ``what``, ``found``, ``ok`` and ``fix`` (empty when ok).
    """
    checks = (
        ("python", _python),
        ("torch", _torch),
        ("device", _device),
        ("driver", _driver),
        ("precision", _precision),
        ("memory", _memory),
        ("disk", _disk),
        ("kernels", _kernels),
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
    loaded, reason = _load_torch()
    if loaded is None:
        return f"{version}, which does not load: {reason}", INSTALL
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 9):
        return version, INSTALL
    return version, ""


def _load_torch() -> tuple[Any, str]:
    """Return torch, or None and why it does not load."""
    if importlib.util.find_spec("torch") is None:
        return None, "it is missing"
    try:
        import torch
    except (ImportError, OSError) as error:  # a broken installation lacks a library
        return None, str(error).strip().partition("\n")[0]
    return torch, ""


def _device() -> tuple[str, str]:
    torch, _ = _load_torch()
    if torch is None:
        return "unknown", "install torch first"
    device = best_device()
    if device.type == "cuda":
        cards = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
        return ", ".join(f"cuda: {c.name} ({c.total_memory / GIB:.1f} GiB)" for c in cards), ""
    threads = torch.get_num_threads()
    found = f"{device.type}, {threads} thread{'s' if threads > 1 else ''}"
    version, supported = _driver_version(), _driver_cuda()
    if not version or not supported or device.type != "cpu":
        return found, ""
    if torch.version.cuda is None:
        return f"{found}; the GPU is not used", (
            "install a torch that is built for CUDA: https://pytorch.org/get-started/locally"
        )
    if supported[0] < int(torch.version.cuda.split(".")[0]):
        return found, ""  # the driver's own row says so
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"{found}; the GPU is not used", (
        "restart the machine: torch finds no GPU though the driver does"
        if hidden is None
        else f"unset CUDA_VISIBLE_DEVICES, which is {hidden!r}"
    )


def _driver() -> tuple[str, str]:
    """Compare the NVIDIA driver with torch: one major version of CUDA is enough.

    Source: NVIDIA, "CUDA Compatibility", on minor version compatibility.
    """
    version, supported = _driver_version(), _driver_cuda()
    if version is None and supported is None:
        return "no NVIDIA driver", ""
    if not version or not supported:
        return "an NVIDIA driver that does not answer", (
            "restart the machine; if nvidia-smi still fails, install the driver anew"
        )
    found = f"{version}, for CUDA up to {supported[0]}.{supported[1]}"
    torch, _ = _load_torch()
    built = None if torch is None else torch.version.cuda
    if built is not None and supported[0] < int(built.split(".")[0]):
        return f"{found}; torch is built for CUDA {built}", (
            f"update the driver to one for CUDA {built.split('.')[0]} or later: "
            "https://www.nvidia.com/drivers"
        )
    return found, ""


def _driver_version() -> str | None:
    """Ask nvidia-smi; None where there is none, empty where it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().partition("\n")[0]


def _driver_cuda() -> tuple[int, int] | None:
    """Ask the driver's library for the newest CUDA that it supports."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()  # 1000 times the major version and 10 times the minor one
    if library.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    return number.value // 1000, number.value % 1000 // 10


def _precision() -> tuple[str, str]:
    """Multiply in each type on each device, and say where the processor emulates it."""
    torch, _ = _load_torch()
    if torch is None:
        return "unknown", "install torch first"
    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    places = []
    for device in dict.fromkeys(("cpu", best_device().type)):
        emulated = _emulated(device)
        names = [
            f"{name} (emulated)" if name in emulated else name
            for name, dtype in types.items()
            if _multiplies(device, dtype)
        ]
        places.append(f"{device}: {', '.join(names)}")
    return "; ".join(places), ""


def _multiplies(device: str, dtype: torch.dtype) -> bool:
    import torch

    try:
        ones = torch.ones(2, 2, device=device, dtype=dtype)
        return (ones @ ones).sum().item() == 8
    except (RuntimeError, TypeError):
        return False


def _emulated(device: str) -> set[str]:
    """Name the types for which a device is known to have no instructions of its own."""
    import torch

    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return set() if native else {"bf16"}
    if device != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # older torch cannot say
        return set()
    has = torch.cpu.get_capabilities()
    if has.get("architecture") != "x86_64":
        return set()
    units = ("avx512", "amx")
    return {n for n in ("bf16", "fp16") if not any(has.get(f"{unit}_{n}") for unit in units)}


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


def _kernels() -> tuple[str, str]:
    """Look at every Jupyter kernel: does its program exist, and is python3 this environment's?"""
    reinstall = "python -m ipykernel install --sys-prefix --name python3"
    if importlib.util.find_spec("jupyter_client") is None:
        return "jupyter is missing", INSTALL
    from jupyter_client.kernelspec import KernelSpecManager

    specs = KernelSpecManager().get_all_specs()
    if "python3" not in specs:
        return "no kernel named python3", reinstall
    found, fixes = [], []
    for name, entry in sorted(specs.items()):
        program = (entry["spec"]["argv"] or [""])[0]
        state = _state_of_kernel(name, program)
        found.append(f"{name} ({program})" if not state else f"{name} {state}")
        if state:
            own = Path(entry["resource_dir"]).is_relative_to(sys.prefix)
            mend = own and name == "python3"
            fixes.append(reinstall if mend else f"jupyter kernelspec remove {name}")
    return "; ".join(found), "; ".join(fixes)


def _state_of_kernel(name: str, program: str) -> str:
    """Say what is wrong with a kernel's program; nothing when it is all right."""
    major, minor = sys.version_info[:2]
    if program in ("python", f"python{major}", f"python{major}.{minor}"):
        return ""  # jupyter_client starts the interpreter that it runs in
    path = shutil.which(program)
    if path is None:
        return f"points to {program or 'no program'}, which does not exist"
    if name == "python3" and Path(path).parent.resolve() != Path(sys.executable).parent.resolve():
        return f"points to {program}, of another environment than {sys.prefix}"
    return ""
