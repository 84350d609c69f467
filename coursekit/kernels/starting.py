"""The start of a fork server's process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from coursekit.kernels.places import reachable

BACKLOG = 128
THREADS = (  # a server has one thread; its children are told how many they get
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# The package is found where the client has it; `sys.path` stays what every interpreter here has.
BOOT = """
import sys
if not sys.flags.safe_path:
    del sys.path[0]
import importlib.util
spec = importlib.util.spec_from_file_location("coursekit", sys.argv[1])
sys.modules["coursekit"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["coursekit"])
from coursekit.kernels.server import main
main(sys.argv[2])
"""


def start(
    address: str,
    warm: Sequence[str],
    env: Mapping[str, str],
    *,
    owner: int = -1,
    lifeline: int = -1,
    idle: float = 0.0,
    lock: str = "",
    options: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a server's process; it answers what is asked at once after its warm-up.

    Args:
        address: Path of its socket, in a folder that is this user's alone.
        warm: Modules that it imports.
        env: Its environment.
        owner: Descriptor of the owner's pidfd, -1 for a server without an owner. Such a one
            leaves this process: what is returned is a process that ends at once.
        lifeline: Descriptor of a socket that the owner shuts down to end the server.
        idle: Seconds without children and requests after which it ends; 0 for never.
        lock: File whose lock guards the folder of a server without an owner.
        options: Options of the interpreter.
    """
    package = Path(__file__).resolve().parents[1] / "__init__.py"
    log = str(Path(address).with_name("log"))
    with socket.socket(socket.AF_UNIX) as listener, open(log, "ab") as errors:
        with reachable(address) as path:
            listener.bind(path)
        listener.listen(BACKLOG)
        settings = {
            "listener": listener.fileno(),
            "address": address,
            "log": log,
            "warm": list(warm),
            "owner": owner,
            "lifeline": lifeline,
            "idle": idle,
            "lock": lock,
            "threads": {name: env[name] for name in THREADS if name in env},
        }
        plain = {name: value for name, value in env.items() if name not in THREADS}
        return subprocess.Popen(
            [sys.executable, *options, "-c", BOOT, str(package), json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env={**plain, "OPENBLAS_NUM_THREADS": "1"},
            cwd=os.sep,
            start_new_session=True,
            pass_fds=[number for number in (listener.fileno(), owner, lifeline) if number >= 0],
        )
