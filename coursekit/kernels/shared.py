"""The fork server that a user's kernels share: which one fits, where it listens, how it starts.

A server fits when a process of its own would have imported the same: the same interpreter, the same
files, the same resources, and the same values of every environment variable that a library reads
while it is imported. Those variables are all that a server gets of its first client's environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import site
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from coursekit.kernels.places import NoForkServer, answers, locked, request, socket_folder
from coursekit.kernels.starting import THREADS, start

IDLE = "COURSEKIT_KERNEL_SERVER_IDLE"
IDLE_SECONDS = 600.0
MOST_SERVERS = 3  # of a user; each holds some 350 MB
# Read on import by Python, numpy, torch, matplotlib, IPython and what they rest on.
READ_ON_IMPORT = re.compile(
    r"""(
    PYTHON|_PYTHON|LD_|GLIBC_TUNABLES|MALLOC_|LC_|LANG|TZ$|HOME$|USER$|LOGNAME$|LNAME$|USERNAME$
    |TMPDIR$|TEMP$|TMP$|PATH$|TERM$|XDG_(CACHE|CONFIG|DATA|STATE)_|CI$
    |OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|GOTO_|BLIS_|NUMEXPR_|NPY_|NUMPY_|SCIPY_|NVPL_
    |TORCH|PYTORCH|CUDA|CUDNN|CUBLAS|NCCL|NVIDIA_|HIP_|ROCM|KINETO|TRITON_|FX_|AOT|PT2_
    |INDUCTOR_|COMPILE_|FAKE_|PARTITIONER_|UNSAFE_|DUMP_|ENABLE_|LOG_|CUTLASS_|SYMPY_|MPMATH_|SAGE_
    |MATPLOTLIBRC$|MPL(?!BACKEND$)|PYPARSING|PILLOW_|IPYTHON|IN_SPHINX_RUN$|JUPYTER_(USE|PLATFORM|ALLOW|CONFIG|DATA|RUNTIME)_|TRAITLETS_
    |PYZMQ_|ZMQ_|TORNADO_|MSGPACK_|PYDEV|PYCHARM|DEBUGPY_|GEVENT_|IDE_|PATHS_FROM_ECLIPSE|DEBUG_PYDEVD
    |PSUTIL_|JAXTYPING_|TQDM_|SKLEARN_|JOBLIB_|LOKY_|SOURCE_DATE_EPOCH$|ANDROID_
    )""",
    re.VERBOSE,
)
# A cgroup, namespaces, limits and processors are inherited; a server of others must not serve.
STATUS = re.compile(
    r"^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap\w+|Cpus_allowed|Mems_allowed):.*$", re.MULTILINE
)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


class Shared:
    """The shared server that fits an environment.

    Args:
        env: The environment of the processes to come.
        options: Options of their interpreter.
        warm: Modules that the server imports.

    Attributes:
        address: Path of its socket.
        env: The environment.

    Raises:
        NoForkServer: The folder for sockets cannot be had, or there is to be no server.
    """

    def __init__(self, env: dict[str, str], options: Sequence[str], warm: Sequence[str]) -> None:
        self.env = env
        self._idle = idle_seconds(env)
        if not self._idle:
            raise NoForkServer(f"{IDLE} is 0")
        self._options = options
        self._warm = warm
        self._read = {k: v for k, v in env.items() if read_on_import(k)}
        self._base = socket_folder()
        self.address = str(self._base / key(self._read, options, warm) / "socket")

    def start(self) -> None:
        """Start the server unless somebody else just did."""
        with locked(self._base / "lock"):
            if answers(self.address):
                return
            folder = Path(self.address).parent
            folder.mkdir(mode=0o700, exist_ok=True)
            Path(self.address).unlink(missing_ok=True)
            _make_room(self._base)
            process = start(
                self.address,
                self._warm,
                self._read,
                idle=self._idle,
                lock=str(self._base / "lock"),
                options=self._options,
            )
        process.wait()  # the server itself has left this process


def idle_seconds(env: Mapping[str, str]) -> float:
    """Read after how many seconds an idle server ends; 0 means that there is to be none.

    Raises:
        NoForkServer: The variable holds no such number.
    """
    text = env.get(IDLE, "") or str(IDLE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise NoForkServer(f"{IDLE} is {text!r}: give a number of seconds, 0 for no server")
    return seconds


def read_on_import(name: str) -> bool:
    """Say whether a library may read an environment variable while it is imported."""
    return name not in THREADS and bool(READ_ON_IMPORT.match(name))


def key(read: Mapping[str, str], options: Sequence[str], warm: Sequence[str]) -> str:
    """Name the server that fits.

    Args:
        read: Environment variables that matter on import.
        options: Options of the interpreter.
        warm: Modules that the server imports.
    """
    parts = [
        sys.executable,
        sys.prefix,
        sys.version,
        options,
        warm,
        sorted(read.items()),
        newest_files(),
        resources(),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def newest_files() -> list[tuple[str, int]]:
    """Return when coursekit and the folders of installed packages changed, in nanoseconds."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    newest = [(package, newest_module(package))]
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    for folder in sorted(folders):
        if os.path.isdir(folder):
            newest.append((folder, os.stat(folder).st_mtime_ns))
    return newest


def newest_module(package: str) -> int:
    """Return when the newest module of a package changed, in nanoseconds; data does not count.

    Args:
        package: Folder of the package.
    """
    with os.scandir(package) as entries:
        found = list(entries)
    names = {entry.name for entry in found}
    if "__init__.py" not in names:
        return 0
    times = [entry.stat().st_mtime_ns for entry in found if entry.name.endswith(".py")]
    return max(*times, *(newest_module(entry.path) for entry in found if entry.is_dir()), 0)


def resources() -> list[str]:
    """Describe what a process inherits apart from its environment."""
    own = Path("/proc/self")
    return [
        *(match[0] for match in STATUS.finditer((own / "status").read_text())),
        (own / "limits").read_text(),
        (own / "cgroup").read_text(),
        str(os.getpriority(os.PRIO_PROCESS, 0)),
        *(os.readlink(own / "ns" / name) for name in NAMESPACES if (own / "ns" / name).exists()),
    ]


def _make_room(base: Path) -> None:
    """Remove what killed servers have left, and retire those that were not used for longest."""
    alive = []
    for path in base.glob("*/socket"):
        if answers(str(path)):
            alive.append(path)
        else:
            shutil.rmtree(path.parent, ignore_errors=True)
    alive.sort(key=lambda path: path.parent.stat().st_mtime_ns)  # a server touches it when used
    for path in alive[: max(0, len(alive) - MOST_SERVERS + 1)]:
        request(str(path), {"retire": True})
